# SPDX-License-Identifier: BSD-3-Clause
"""An image as a directory, for a program of the site's that wants to look at it.

An image file is mounted where that can be: by the kernel as root, else by a program through FUSE,
in a mount namespace that only those who look have entered. So nobody else sees the mount, and it
ends with the last of them, however that comes. Where neither is possible the image is unpacked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from shifter_imagegw.errors import PullError
from shifter_imagegw.run import run, running

log = logging.getLogger(__name__)

_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOUNT_OPTIONS = {
    "squashfs": "loop,ro,nosuid,nodev",
    "ext4": "loop,ro,nosuid,nodev,noload,errors=continue",
}
_FUSE_PROGRAMS = {"squashfs": "squashfuse", "ext4": "fuse2fs"}
_MOUNT_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """Where the image is to be seen by a program that is started by `prefix`."""

    directory: Path
    prefix: tuple[str, ...] = ()


@contextlib.contextmanager
def opened(image: Path, format: str, place: Path, timeout: float) -> Iterator[View]:
    """Show an image at `place`, an empty directory; unpacking may take `timeout` seconds."""
    if image.is_dir():
        yield View(directory=image)
        return
    with contextlib.ExitStack() as stack:
        view = _mounted(stack, image, format, place)
        if view is None:
            _unpack(image, format, place, timeout)
        yield view or View(directory=place)


def _mounted(stack: contextlib.ExitStack, image: Path, format: str, place: Path) -> View | None:
    """The mounted image; None where this process may not mount, or has nothing to do it with."""
    if os.geteuid() == 0:
        mounted = _mounted_by_kernel
    elif os.access("/dev/fuse", os.R_OK | os.W_OK) and _has(_FUSE_PROGRAMS[format]):
        mounted = _mounted_by_fuse
    else:
        return None
    try:
        return stack.enter_context(mounted(image, format, place))
    except PullError as error:
        log.info("image unpacked because it cannot be mounted reason=%s", error)
        return None


@contextlib.contextmanager
def _mounted_by_kernel(image: Path, format: str, place: Path) -> Iterator[View]:
    holder = ["unshare", "--mount", "--propagation", "private", "--", "sleep", "infinity"]
    with running(holder, _is_asleep, failing=PullError, package="util-linux") as process:
        prefix = ("nsenter", f"--target={process}", "--mount", "--")
        options = _MOUNT_OPTIONS[format]
        command = [*prefix, "mount", "-n", "-t", format, "-o", options, str(image), str(place)]
        run(command, failing=PullError, package="mount", timeout=_MOUNT_SECONDS)
        yield View(directory=place, prefix=prefix)


@contextlib.contextmanager
def _mounted_by_fuse(image: Path, format: str, place: Path) -> Iterator[View]:
    """In a user namespace in which the gateway's account may mount, and remains itself."""
    holder = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "--",
              _FUSE_PROGRAMS[format], "-f", "-o", "ro", str(image), str(place)]  # fmt: skip

    def is_mounted(process: int) -> bool:
        try:
            mounts = Path(f"/proc/{process}/mountinfo").read_bytes()
        except OSError:  # it has just ended
            return False
        return b" %b " % _as_in_mountinfo(place) in mounts

    with running(holder, is_mounted, failing=PullError, package="squashfuse") as process:
        prefix = ("nsenter", f"--target={process}", "--user", "--preserve-credentials")
        yield View(directory=place, prefix=(*prefix, "--mount", "--"))


def _unpack(image: Path, format: str, place: Path, timeout: float) -> None:
    if format == "squashfs":
        command = ["unsquashfs", "-no-progress", "-quiet", "-no-xattrs", "-force"]
        command += ["-dest", str(place), str(image)]
        run(command, failing=PullError, package="squashfs-tools", timeout=timeout)
        return
    quoted = str(place).replace('"', '""')
    command = ["debugfs", "-R", f'rdump / "{quoted}"', str(image)]
    run(command, failing=PullError, package="e2fsprogs", timeout=timeout)


def _is_asleep(process: int) -> bool:
    """Whether the program that holds a mount namespace is in it, and has its own name."""
    return Path(f"/proc/{process}/comm").read_text() == "sleep\n"


def _as_in_mountinfo(path: Path) -> bytes:
    escapes = {b" ": b"\\040", b"\t": b"\\011", b"\n": b"\\012", b"\\": b"\\134"}
    name = os.fsencode(path)
    return b"".join(escapes.get(bytes([byte]), bytes([byte])) for byte in name)


def _has(program: str) -> bool:
    return shutil.which(program, path=os.environ.get("PATH") or _SEARCH_PATH) is not None
