# SPDX-License-Identifier: BSD-3-Clause
"""A shared filesystem that is as far away as one asks for: GlusterFS, on this machine alone.

Server and client are the real ones, with volume files of our own instead of glusterd, over a Unix
socket: no port, no name, nothing outside of the directory that they are given. As on most clusters,
root has no rights there (`root-squash`). A volume's usual translators are there: access control,
locks and threads on the server, write-behind on the client, and the kernel's page cache over them.

The delay is GlusterFS's own `debug/delay-gen` in the server, between its threads and the disk: each
operation that reaches the server (lookup, open, stat, read, write, sync, …) takes so much longer,
and 64 of them wait side by side, as on a network. What client and kernel answer from their caches
takes no longer, as there. Writes of a program are gathered by write-behind, up to a mebibyte,
unless one asks for a filesystem where each is with the server before the next can begin.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import programs
from benchmarks.programs import BenchmarkError

THREADS = 64
MICROSECONDS = 1_000_000  # of a second

SERVER = """\
volume disk
  type storage/posix
  option directory {brick}
end-volume
volume access
  type features/access-control
  subvolumes disk
end-volume
volume locks
  type features/locks
  subvolumes access
end-volume
{delay}
{trace}
volume threads
  type performance/io-threads
  option thread-count {threads}
  subvolumes {below_threads}
end-volume
volume server
  type protocol/server
  option transport-type socket
  option transport.address-family unix
  option transport.socket.listen-path {socket}
  option auth.addr.threads.allow *
  option root-squash {root_squash}
  subvolumes threads
end-volume
"""

DELAY = """\
volume delay
  type debug/delay-gen
  option delay-duration {microseconds}
  option delay-percentage 100
  subvolumes locks
end-volume
"""

TRACE = """\
volume trace
  type debug/trace
  option log-file yes
  subvolumes {below_trace}
end-volume
"""

CLIENT = """\
volume remote
  type protocol/client
  option transport-type socket
  option transport.address-family unix
  option transport.socket.connect-path {socket}
  option remote-host localhost
  option remote-subvolume threads
  option ping-timeout 0
end-volume
"""

WRITE_BEHIND = """\
volume behind
  type performance/write-behind
  subvolumes remote
end-volume
"""


@contextlib.contextmanager
def mounted(
    work: Path,
    *,
    delay: float = 0.0,
    root_squash: bool = True,
    write_behind: bool = True,
    traced: bool = False,
) -> Iterator[Path]:
    """An empty shared filesystem, everybody's to write, below `work`; `delay` is in seconds.

    With `traced`, the server logs each operation that reaches it.
    """
    if absent := programs.missing("glusterfs", "glusterfsd", "umount"):
        raise BenchmarkError(f"{absent}: apt-get install glusterfs-server glusterfs-client")
    place = work / "shared"
    mount, brick, socket = place / "mount", place / "brick", place / "socket"
    for directory in (place, mount, brick):
        directory.mkdir()
        directory.chmod(0o755)
    brick.chmod(0o1777)
    try:
        _write_server(place, brick, socket, delay=delay, root_squash=root_squash, traced=traced)
        client = CLIENT.format(socket=socket) + (WRITE_BEHIND if write_behind else "")
        (place / "client.vol").write_text(client)
        with (
            _running("glusterfsd", place, "server", ready=socket.exists),
            _running("glusterfs", place, "client", mount, ready=lambda: _answers(mount)),
        ):
            try:
                yield mount
            finally:
                programs.run(["umount", "--lazy", mount])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def fill(shared: Path, put: Callable[[Path], None]) -> None:
    """Let root put things there, on the server's own disk, without delay."""
    put(shared.parent / "brick")


def server_log(shared: Path) -> Path:
    """Where the server writes what it is asked, if it is traced."""
    return shared.parent / "server.log"


def describe(delay: float) -> str:
    """A line for reports."""
    return f"GlusterFS on this machine, root squashed, {delay * 1000:g} ms more for each operation"


def _write_server(
    place: Path, brick: Path, socket: Path, *, delay: float, root_squash: bool, traced: bool
) -> None:
    microseconds = round(delay * MICROSECONDS)
    delayed = "delay" if microseconds else "locks"
    server = SERVER.format(
        brick=brick,
        socket=socket,
        delay=DELAY.format(microseconds=microseconds) if microseconds else "",
        trace=TRACE.format(below_trace=delayed) if traced else "",
        below_threads="trace" if traced else delayed,
        threads=THREADS,
        root_squash="on" if root_squash else "off",
    )
    (place / "server.vol").write_text(server)


def _running(
    program: str, place: Path, name: str, *words: Path, ready: Callable[[], bool]
) -> contextlib.AbstractContextManager[int]:
    command: list[str | Path] = [program, "--no-daemon", f"--volfile={place / name}.vol"]
    command += [f"--pid-file={place / name}.pid", f"--log-file={place / name}.log", *words]
    return programs.running(command, place / f"{name}.out", ready=ready)


def _answers(mount: Path) -> bool:
    """Whether it is mounted, and the server answers."""
    try:
        return os.path.ismount(mount) and bool(os.statvfs(mount).f_blocks)
    except OSError:
        return False
