# SPDX-License-Identifier: BSD-3-Clause
"""Run the scripts of the site: as root while a container is built, as the user inside it.

Whatever the caller did to this process (signals, limits, descriptors, variables), a script starts
from a clean state. It is watched by a process of its own, which ends the script and everything
that the script has started when time is up, or when the launch itself is gone.
"""

from __future__ import annotations

import os

from shifter_runtime import identity, process_calls, syscalls, trust
from shifter_runtime.errors import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SHELL = "/bin/sh"
# The original's scripts of root saw POSIXLY_CORRECT, and no PATH but the shell's own.
_ROOT_VARIABLES = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "POSIXLY_CORRECT": "1"}
_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR = 3, 1 << 30
_LONGEST_WAIT = 2**31 - 1  # milliseconds
_LARGEST_SCRIPT = 1 << 20
_MOST_OUTPUT = 1 << 16
_MOST_LINES = 10
_PATIENCE = 200  # hundredths of a second for what was killed to be gone


def run_as_root(what: str, path: str, directory: int, seconds: float) -> None:
    """Run a script of the node's with /bin/sh in the directory that a descriptor is open on.

    What is checked is what runs: the shell reads the script from the checked descriptor. `what` is
    the key of udiRoot.conf that names it; 0 `seconds` are for ever.
    """
    try:
        script = trust.open_untouchable(path)
    except SetupError as error:
        raise SetupError(f"{what}: {error}") from error
    if os.fstat(script).st_size > _LARGEST_SCRIPT:
        os.close(script)
        raise SetupError(f"{what}: {path} is too large: at most {_LARGEST_SCRIPT} bytes are run")

    def execute(watcher: int) -> None:
        process_calls.lift_limits()
        os.umask(0o022)
        # By `.`, so that $0 is the script's name; not /proc/self, so that it is no descriptor of
        # the script's. Both numbers are ours.
        command = f". /proc/{watcher}/fd/{script}"
        os.execve(_SHELL, [_SHELL, "-c", command, path], _ROOT_VARIABLES)

    try:
        _run(f"{what} {path}", execute, seconds, directory)
    finally:
        os.close(script)


def run_as_user(what: str, path: str, seconds: float) -> None:
    """Run a script in the container; this process has given up every privilege before."""

    def execute(_watcher: int) -> None:
        os.execve(_SHELL, [_SHELL, path], {})

    try:
        _run(f"{what} {path}", execute, seconds)
    except OSError as error:  # the limits of the user's, on processes or open files say
        raise SetupError(f"cannot run {what} {path}: {error.strerror}") from error


def _run(
    what: str, execute: Callable[[int], None], seconds: float, directory: int | None = None
) -> None:
    """Have a script run and wait for it; its output goes to standard error, never to the job's."""
    output = os.memfd_create("output")  # a pipe might fill up, or end with its reader
    answer, answering = os.pipe()
    held, holding = os.pipe()  # closed by the kernel, at the latest, when this process ends
    watcher = os.fork()
    if watcher == 0:
        try:
            os.close(holding)
            os.setsid()  # no terminal, whose keys could end it halfway
            if directory is not None:
                os.fchdir(directory)
            result = _watch(execute, output, held, seconds)
            os.write(answering, result.encode())
        finally:
            os._exit(0)
    os.close(answering)
    os.close(held)
    try:
        result = os.read(answer, _MOST_OUTPUT).decode()
    finally:
        os.close(holding)
        os.close(answer)
    os.waitpid(watcher, 0)
    said = _last_output(output)
    if result == "exit 0":
        _pass_on(said)
        return
    raise SetupError(_sentence(what, result, seconds) + _quoted(said))


def _watch(execute: Callable[[int], None], output: int, held: int, seconds: float) -> str:
    """Start the script and wait for its end, the end of its time, or that of the launch."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # what it leaves behind is found again
    watcher = os.getpid()
    script = os.fork()
    if script == 0:
        try:
            _prepare(output)
            execute(watcher)
        except OSError as error:
            os.write(2, os.fsencode(f"cannot run {error.filename or _SHELL}: {error.strerror}\n"))
        finally:
            os._exit(126)
    ending = os.pidfd_open(script)
    milliseconds = min(int(seconds * 1000) + 1, _LONGEST_WAIT) if seconds else -1
    ended, abandoned = process_calls.wait_readable((ending, held), milliseconds)
    if ended and not abandoned:
        _, status = os.waitpid(script, 0)
        code = os.waitstatus_to_exitcode(status)
        return f"exit {code}" if code >= 0 else f"signal {-code}"
    _end_all(script)
    return "time"


def _prepare(output: int) -> None:
    """Make the state that a script starts from: only what is asked for, nothing of the caller's."""
    os.setsid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, syscalls.SIGKILL)
    process_calls.forget_signals()
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR)


def _end_all(script: int) -> None:
    """Kill the script and whatever it has started, also what has left its process group."""
    _kill(-script)
    for _ in range(_PATIENCE):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for child in _children():
            _kill(child)
        syscalls.sleep(10_000)


def _children() -> list[int]:
    """Those of this process, and what lost its parent, for which this process reaps."""
    path = f"/proc/self/task/{os.getpid()}/children"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []  # no such file in this kernel: the process group must do
    try:
        return [int(number) for number in trust.read_all(fd, path).split()]
    finally:
        os.close(fd)


def _kill(process: int) -> None:
    try:
        os.kill(process, syscalls.SIGKILL)
    except ProcessLookupError:
        return


def _sentence(what: str, result: str, seconds: float) -> str:
    word, _, number = result.partition(" ")
    if word == "exit":
        return f"{what} failed with exit status {number}"
    if word == "signal":
        return f"{what} was ended by signal {number}"
    if word == "time":
        return f"{what} took longer than {seconds:g} seconds (hookTimeout), and was ended"
    return f"{what} could not be run"


def _last_output(output: int) -> str:
    size = os.lseek(output, 0, os.SEEK_END)
    start = max(size - _MOST_OUTPUT, 0)
    content = os.pread(output, _MOST_OUTPUT, start)
    os.close(output)
    return content.decode("utf-8", "surrogateescape")


def _quoted(said: str) -> str:
    lines = said.rstrip("\n").split("\n")[-_MOST_LINES:]
    return ", saying:\n" + "\n".join(f"    {line}" for line in lines) if said.strip() else ""


def _pass_on(said: str) -> None:
    try:
        identity.write(2, said.encode("utf-8", "surrogateescape"))
    except OSError:
        return  # nobody listens
