# SPDX-License-Identifier: BSD-3-Clause
"""The sshd in a job's container: started as the user, and ended with everything it has started.

Root does no more than to start two programs of the site's as the user, inside. Which processes are
to end later is known by the control group that they cannot leave; without control groups, by their
mount namespace, which is kept and so is nobody else's.
"""

from __future__ import annotations

import os

from shifter_runtime import identity, process_calls, syscalls, trust
from shifter_runtime.errors import SetupError
from shifter_runtime.job import cgroup
from shifter_runtime.job.joining import NAMESPACE
from shifter_runtime.job.ssh_plan import CONFIGURATION, HOST_KEY, LOG, SITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity

_RECORD = "sshd"  # in the state directory of the container
_KEYGEN = [SITE + "/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", HOST_KEY]
_SSHD = [SITE + "/sbin/sshd", "-D", "-f", CONFIGURATION, "-E", LOG]
_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
_DEFAULT_PORT = 22
_LISTENING = "0A"  # in /proc/net/tcp
_PATIENCE = 2000  # times _PAUSE
_PAUSE = 5  # milliseconds
_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR = 3, 1 << 30
_MOST_SAID = 4096


class _Started:
    """What is written down of an sshd: its number and when that began, and its control group."""

    __slots__ = ("began", "group", "number")

    def __init__(self, number: int, began: int, group: cgroup.Group | None) -> None:
        self.number = number
        self.began = began
        self.group = group

    def write(self, directory: str) -> None:
        group = f"{self.group.number} {self.group.path}" if self.group else "0 "
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(f"{directory}/{_RECORD}", flags, 0o600)
        try:
            os.write(fd, os.fsencode(f"{self.number} {self.began} {group}"))
        finally:
            os.close(fd)


def start(namespace: int, user: Identity, config: RuntimeConfig, directory: str) -> None:
    """Start it in the finished container whose mount namespace is given, and wait till it listens.

    `directory` is where setupRoot keeps the container; `stop` finds there what to end. What
    ssh_plan.operations says was done to the container. Nothing stays where this fails.
    """
    port = _port(config)
    _require_free(port)
    _make_host_key(namespace, user)
    # With this process's number: what is left of an earlier one must not be in the way.
    group = cgroup.make(f"shifter-sshd-{os.path.basename(directory)}-{os.getpid()}")
    try:
        child, gate = _fork_sshd(namespace, user)
        try:
            if group is not None:
                group.add(child)
            _Started(child, _began(child) or 0, group).write(directory)
            os.write(gate, b"!")
        finally:
            os.close(gate)
        _wait_until_listening(child, port, user)
    except BaseException:
        if not _is_recorded(directory) and group is not None:
            group.end()
        stop(directory)
        raise


def stop(directory: str) -> None:
    """End the sshd of the container kept in `directory`, and all that was started through it.

    Must run before its namespace is let go. Doing it again does no harm.
    """
    found = _read(directory)
    if found is None:
        return
    _end(found)
    if found.group is None:
        _end_all_inside(f"{directory}/{NAMESPACE}", found)
    elif not found.group.end():
        raise SetupError(
            "some processes that were started by ssh do not end: "
            + ", ".join(map(str, found.group.processes()))
        )
    os.unlink(f"{directory}/{_RECORD}")


def _make_host_key(namespace: int, user: Identity) -> None:
    said = os.memfd_create("said")
    child = os.fork()
    if child == 0:
        try:
            os.dup2(said, 2)
            _execute(_KEYGEN, namespace, user)
        finally:
            os._exit(126)
    _, status = os.waitpid(child, 0)
    text = os.pread(said, _MOST_SAID, 0).decode("utf-8", "replace").strip()
    os.close(said)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SetupError(f"cannot make a host key in the container: {text or 'ssh-keygen failed'}")


def _fork_sshd(namespace: int, user: Identity) -> tuple[int, int]:
    """A process that becomes sshd when a byte is written to the descriptor that comes with it.

    Where that is closed instead, because this process has ended, so does that one.
    """
    waiting, gate = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(gate)
            os.setsid()  # the prolog's group of processes may be killed when that ends
            _do_not_spare()
            if os.read(waiting, 1):
                os.dup2(os.open("/dev/null", os.O_RDWR), 2)
                _execute(_SSHD, namespace, user)
        finally:
            os._exit(126)
    os.close(waiting)
    return child, gate


def _execute(command: list[str], namespace: int, user: Identity) -> NoReturn:
    """Become a program in the container, as the user and with nothing of this process's."""
    try:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        syscalls.enter_mounts(namespace)
        os.closerange(_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR)
        process_calls.forget_signals()
        identity.become(user)
        os.execve(command[0], command, _ENVIRONMENT)
    except OSError as error:
        os.write(2, os.fsencode(f"cannot run {command[0]}: {error.strerror}"))
    os._exit(126)


def _do_not_spare() -> None:
    """A batch system may have itself spared when memory runs out; a user's session must not be."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if int(os.read(fd, 16)) < 0:
            os.pwrite(fd, b"0", 0)
    finally:
        os.close(fd)


def _wait_until_listening(child: int, port: int, user: Identity) -> None:
    ending = os.pidfd_open(child)
    try:
        for _ in range(_PATIENCE):
            (ended,) = process_calls.wait_readable((ending,), _PAUSE)
            if ended:
                break
            found = _listeners(port)
            if set(found.values()) - {user.uid}:
                raise SetupError(
                    f"cannot start sshd in the container: somebody else took port {port} of this "
                    "node at the same moment, so nobody can log in to this job by ssh"
                )
            # Another job of this user may be starting on this node at the same moment.
            if _sockets(child) & found.keys():
                return
    finally:
        os.close(ending)
    _require_free(port)
    raise SetupError(f"sshd did not start in the container: {LOG} there says why")


def _require_free(port: int) -> None:
    busy = set(_listeners(port).values())
    if busy:
        raise SetupError(
            f"cannot start sshd in the container: port {port} of this node is taken by user id "
            f"{', '.join(map(str, sorted(busy)))}, so nobody can log in to this job by ssh"
        )


def _port(config: RuntimeConfig) -> int:
    """The site's, as sshd_config says."""
    path = f"{config.opt_udi_image}/etc/sshd_config"
    for line in trust.read(path).split("\n"):
        key, _, value = line.strip().partition(" ")
        if key.lower() == "port" and value.strip().isdecimal():
            return int(value)
    return _DEFAULT_PORT


def _listeners(port: int) -> dict[str, int]:
    """The sockets that listen on a TCP port of this node, and the user ids of those who do."""
    found = {}
    for name in ("tcp", "tcp6"):
        path = f"/proc/self/net/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # no IPv6
        try:
            lines = trust.read_all(fd, path).decode().split("\n")
        finally:
            os.close(fd)
        for line in lines[1:]:
            words = line.split()
            is_listening = len(words) > 9 and words[3] == _LISTENING
            if is_listening and int(words[1].rpartition(":")[2], 16) == port:
                found[f"socket:[{words[9]}]"] = int(words[7])
    return found


def _sockets(number: int) -> set[str]:
    """What a process has open, as far as it still is there."""
    directory = f"/proc/{number}/fd"
    try:
        return {os.readlink(f"{directory}/{name}") for name in os.listdir(directory)}
    except FileNotFoundError:
        return set()  # it has just closed one, or is gone


def _began(number: int) -> int | None:
    """When a process began, in the kernel's ticks; None where there is none of that number."""
    try:
        fd = os.open(f"/proc/{number}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The name, in parentheses, may hold anything; the 22nd field is the 20th after it.
        return int(trust.read_all(fd, "stat").rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None
    finally:
        os.close(fd)


def _is_recorded(directory: str) -> bool:
    return os.path.lexists(f"{directory}/{_RECORD}")


def _read(directory: str) -> _Started | None:
    path = f"{directory}/{_RECORD}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        text = os.fsdecode(trust.read_all(fd, path))
    finally:
        os.close(fd)
    words = text.split(" ", 3)
    if len(words) != 4 or not all(word.isdecimal() for word in words[:3]):
        os.unlink(path)  # cut short, when nothing had been started yet
        return None
    number, began, group = map(int, words[:3])
    return _Started(number, began, cgroup.Group(words[3], group) if group else None)


def _end(started: _Started) -> None:
    """Kill the sshd itself, also where the batch system has moved it into a group of its own."""
    try:
        process = os.pidfd_open(started.number)
    except ProcessLookupError:
        return
    try:
        if _began(started.number) == started.began:
            process_calls.signal_process(process, syscalls.SIGKILL)
            process_calls.wait_readable((process,), _PATIENCE * _PAUSE)
    except ProcessLookupError:
        return
    finally:
        os.close(process)


def _end_all_inside(namespace: str, started: _Started) -> None:
    """Kill what is in the container and began with the sshd or later."""
    try:
        wanted = os.stat(namespace)
    except FileNotFoundError:
        return
    for _ in range(_PATIENCE):
        numbers = [int(word) for word in os.listdir("/proc") if word.isdecimal()]
        if not [number for number in numbers if _end_inside(number, wanted, started)]:
            return
        syscalls.sleep(_PAUSE * 1000)


def _end_inside(number: int, wanted: os.stat_result, started: _Started) -> bool:
    """Kill a process if it is one of those; whether it was."""
    try:
        process = os.pidfd_open(number)
    except OSError:
        return False
    try:
        found = os.stat(f"/proc/{number}/ns/mnt")
        began = _began(number)
        if not os.path.samestat(found, wanted) or began is None or began < started.began:
            return False
        process_calls.signal_process(process, syscalls.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(process)
    return True
