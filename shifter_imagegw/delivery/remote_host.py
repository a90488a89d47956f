# SPDX-License-Identifier: BSD-3-Clause
"""A host that is reached by ssh: scripts run there, files are copied there.

The host needs a POSIX shell and coreutils. Scripts go to its shell by standard input, whatever
shell its account has, and every argument in them is quoted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from shifter_imagegw.config import SshConfig
from shifter_imagegw.delivery import remote_file
from shifter_imagegw.delivery.remote_file import RemoteFile
from shifter_imagegw.errors import DeliveryError
from shifter_imagegw.run import Ended, attempt, conversing

SCRIPT_SECONDS = 120.0

# Site options come first, and ssh takes the first that it meets; so these can be changed there.
_OPTIONS = {
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
}
_LOST = 255  # how ssh ends when the connection, not the command, failed
_PERSIST_SECONDS = 30  # of a shared connection that nobody closed, because the worker was killed
_LONGEST_SOCKET_PATH = 90  # bytes: of 108 that the kernel has, ssh needs some for itself


class HostLostError(DeliveryError):
    """A host that cannot be reached, or the connection to it broke."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteHost:
    """One of the hosts of a system; `control` is the socket of a connection that is shared."""

    system: str
    address: str  # as in `SshConfig.hosts`
    ssh: SshConfig
    control: Path | None = None

    def run(self, script: str, *arguments: str, timeout: float = SCRIPT_SECONDS) -> list[str]:
        """Run a script there and give the lines that it printed.

        Raises `HostLostError` if it is not known to have ended, and `DeliveryError`, with what it
        said last, if it failed.
        """
        mark = _mark()
        ended = self._attempt(self._shell(), timeout, _framed(script, arguments, mark))
        # What the account's own start-up files print stands before the first mark.
        _, begun, text = ended.output.partition(f"{mark} begins\n")
        text, over, status = text.rpartition(f"\n{mark} ends with ")
        if ended.status or not begun or not over:
            raise self._lost(ended)
        lines = text.splitlines()
        if status.strip() != "0":
            raise DeliveryError(f"{'; '.join(lines[-5:]) or 'no reason given'}")
        return lines

    def open_file(self, script: str, *arguments: str) -> RemoteFile:
        """Have a script there send a file; the ssh that it comes by ends when the file is closed.

        A mark is the last argument of the script: see `remote_scripts.SEND`. Raises as `run` does.
        """
        mark = _mark()
        with contextlib.ExitStack() as held:
            ssh = held.enter_context(
                conversing(
                    self._shell(),
                    failing=HostLostError,
                    package="openssh-client",
                    environment=_agent(),
                )
            )
            remote_file.say(ssh, _conversation(script, (*arguments, mark), mark))
            lines = iter(lambda: remote_file.next_line(ssh), "")
            has_begun, reasons = f"{mark} begins\n" in lines, []
            for line in lines:
                if line.startswith(f"{mark} "):
                    _, size, changed = line.split()
                    return RemoteFile(ssh, held.pop_all().close, int(size), int(changed))
                reasons.append(line.strip())
            if not has_begun or not reasons:
                raise self._lost(ssh.ended())
            raise DeliveryError("; ".join(reasons[-5:]))

    def copy(self, source: Path, target: str, timeout: float) -> None:
        """Copy a file of this host to a path there."""
        host, port = _host_and_port(self.address)
        host = f"[{host}]" if ":" in host else host
        user = f"{self.ssh.username}@" if self.ssh.username else ""
        command = [
            *("scp", *self._options(self.ssh.scp_options), *(("-P", port) if port else ())),
            *("--", os.fspath(source), f"{user}{host}:{target}"),
        ]
        ended = self._attempt(command, timeout)
        if ended.status == _LOST:
            raise self._lost(ended)
        if ended.status:
            raise DeliveryError(f"scp failed: {ended.reason or 'it gave no reason'}")

    @contextlib.contextmanager
    def connected(self, directory: Path) -> Iterator[RemoteHost]:
        """The same host, with one connection for all that is done in the body."""
        control = directory / f".{secrets.token_hex(6)}.ssh"
        if len(os.fsencode(control)) > _LONGEST_SOCKET_PATH:
            yield self
            return
        host = dataclasses.replace(self, control=control)
        try:
            yield host
        finally:
            host._disconnect()

    def _disconnect(self) -> None:
        if self.control is not None and self.control.exists():
            host, _ = _host_and_port(self.address)
            command = ["ssh", "-o", f"ControlPath={self.control}", "-O", "exit", "--", host]
            with contextlib.suppress(DeliveryError):
                attempt(command, failing=DeliveryError, timeout=SCRIPT_SECONDS)

    def _shell(self) -> list[str]:
        """The command whose standard input a shell there reads."""
        host, port = _host_and_port(self.address)
        return [
            *("ssh", "-T", "-x", "-a", *self._options(self.ssh.ssh_options)),
            *(("-p", port) if port else ()),
            *(("-l", self.ssh.username) if self.ssh.username else ()),
            *("--", host, "exec sh -s"),
        ]

    def _options(self, of_site: tuple[str, ...]) -> list[str]:
        options = ["-o", "BatchMode=yes", *of_site]
        for name, value in _OPTIONS.items():
            options += ["-o", f"{name}={value}"]
        if self.control is not None:
            options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.control}"]
            options += ["-o", f"ControlPersist={_PERSIST_SECONDS}"]
        if self.ssh.key is not None:
            options += ["-i", os.fspath(self.ssh.key), "-o", "IdentitiesOnly=yes"]
        return options

    def _attempt(self, command: list[str], timeout: float, text: str = "") -> Ended:
        return attempt(
            command,
            failing=HostLostError,
            package="openssh-client",
            timeout=timeout,
            environment=_agent(),
            text=text,
        )

    def _lost(self, ended: Ended) -> HostLostError:
        reason = ended.reason or f"the connection ended early (exit status {ended.status})"
        return HostLostError(
            f"cannot work on host {self.address!r} of system {self.system!r} by ssh: {reason}"
        )


def _framed(script: str, arguments: tuple[str, ...], mark: str) -> str:
    """The script between two marks; one that arrives in part does nothing."""
    return (
        f"LC_ALL=C; export LC_ALL\necho '{mark} begins'\n(\nset -eu\numask 077\n"
        f"set -- {shlex.join(arguments)}\n{script}\n) </dev/null 2>&1\n"
        f"printf '\\n%s ends with %s\\n' '{mark}' \"$?\"\n"
    )


def _conversation(script: str, arguments: tuple[str, ...], mark: str) -> str:
    """The script after a mark, with standard input; its last words go to descriptor 4 there."""
    return (
        f"LC_ALL=C; export LC_ALL\necho '{mark} begins'\n(\nset -eu\nexec 4>&2 2>&1\n"
        f"set -- {shlex.join(arguments)}\n{script}\n); exit\n"
    )


def _mark() -> str:
    """A word that nothing else prints."""
    return f"shifter-{secrets.token_hex(8)}"


def _host_and_port(address: str) -> tuple[str, str]:
    """The two parts of `host:port`; the second is empty where there is none."""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        return host, rest.removeprefix(":")
    if address.count(":") > 1:
        return address, ""
    host, _, port = address.partition(":")
    return host, port


def _agent() -> Mapping[str, str]:
    """Where keys are that an agent holds for the gateway's account, if one does."""
    socket = os.environ.get("SSH_AUTH_SOCK")
    return {"SSH_AUTH_SOCK": socket} if socket else {}
