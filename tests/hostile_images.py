# SPDX-License-Identifier: BSD-3-Clause
"""Images with every trick, and a picture of the node to compare afterwards.

`THINGS` are what an image may have in the place of a file or directory that Shifter uses, each a
function that makes it at a path; links lead to `outside`, a directory of the node. `TRICKS` change
the tree of an image in one place or another. Both are given to `Node.add_image`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

# Whatever a launch mounts, writes or makes in a container, as names below the image's root.
PLACES = (
    *("etc", "proc", "sys", "dev", "tmp", "var", "var/tmp", "opt", "opt/udiImage", "shared"),
    *("etc/passwd", "etc/group", "etc/mtab", "etc/nsswitch.conf", "var/shifterConfig.json"),
)

LONGEST_NAME = 255
_CAPABILITIES = bytes.fromhex("01000002") + b"\xff\xff\xff\xff" * 2 + b"\xff\x01\x00\x00" * 2

Maker = Callable[[Path], None]


def things(outside: Path) -> dict[str, Maker]:
    """Name -> what makes such a thing at a path; links lead to `outside` if nothing holds them."""

    def link_to(target: str | Path) -> Maker:
        return lambda path: path.symlink_to(target)

    def long_way(path: Path) -> None:
        """More links than the kernel follows, the last of them out of the image."""
        for number in range(60):
            step = path.with_name(f"step{number}-{path.name}")
            step.symlink_to(f"step{number + 1}-{path.name}" if number < 59 else outside)
        path.symlink_to(f"step0-{path.name}")

    def two_links(path: Path) -> None:
        """Few enough to be followed."""
        path.with_name(f"door-{path.name}").symlink_to(outside)
        path.symlink_to(f"door-{path.name}")

    def unix_socket(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            directory = os.open(path.parent, os.O_PATH)
            listener.bind(f"/proc/self/fd/{directory}/{path.name}")
            os.close(directory)

    def device(kind: int, major: int, minor: int) -> Maker:
        return lambda path: os.mknod(path, kind | 0o666, os.makedev(major, minor))

    def closed_directory(path: Path) -> None:
        path.mkdir(mode=0)

    def full_directory(path: Path) -> None:
        path.mkdir()
        (path / ("n" * LONGEST_NAME)).touch()
        (path / "line\nend").touch()
        (path / "passwd").mkdir()
        (path / "null").write_text("not null")

    def setuid_file(path: Path) -> None:
        path.write_bytes(b"#!/bin/sh\nid\n")
        path.chmod(0o6755)

    return {
        "absolute link": link_to(outside),
        "relative link": link_to(f"../../../../../../..{outside}"),
        "link to a file below": link_to(outside / "file"),
        "link to what is not there": link_to(outside / "new"),
        "link to itself": lambda path: path.symlink_to(path.name),
        "link by way of /proc": link_to(f"/proc/1/root{outside}"),
        "link by way of a descriptor": link_to("/proc/self/fd/3"),
        "long way of links": long_way,
        "two links": two_links,
        "fifo": os.mkfifo,
        "socket": unix_socket,
        "block device": device(stat.S_IFBLK, 7, 0),
        "character device": device(stat.S_IFCHR, 1, 5),
        "whiteout": device(stat.S_IFCHR, 0, 0),
        "file": lambda path: path.write_text("a file"),
        "setuid file": setuid_file,
        "closed directory": closed_directory,
        "full directory": full_directory,
    }


def put(tree: Path, place: str, make: Maker) -> None:
    """Make a thing at `place` in the tree of an image, in place of what is there."""
    path = tree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)


def with_setuid_programs(tree: Path) -> None:
    """`bin/busybox-suid`, `-sgid` and, with every capability there is, `-capable`."""
    for name, mode in (("suid", 0o4755), ("sgid", 0o2755), ("capable", 0o755)):
        program = tree / f"bin/busybox-{name}"
        shutil.copy2("/bin/busybox", program)
        program.chmod(mode)
    os.setxattr(tree / "bin/busybox-capable", "security.capability", _CAPABILITIES)


def with_overlay_attributes(tree: Path) -> None:
    """Everything that could tell an overlay to look elsewhere, below `tricks`."""
    tricks = tree / "tricks"
    tricks.mkdir()
    for prefix in ("trusted", "user"):
        for name, value in (
            ("opaque", b"y"),
            ("redirect", b"/etc"),
            ("origin", bytes(range(32))),
            ("impure", b"y"),
            ("nlink", b"U+1"),
            ("upper", bytes(29)),
            ("uuid", bytes(16)),
            ("whiteout", b"y"),
            ("protattr", b"a"),
        ):
            directory = tricks / f"{prefix}-{name}"
            directory.mkdir()
            (directory / "inside").touch()
            os.setxattr(directory, f"{prefix}.overlay.{name}", value)
        file = tricks / f"{prefix}-metacopy"
        file.write_text("mine\n")
        os.setxattr(file, f"{prefix}.overlay.metacopy", b"")
        os.setxattr(file, f"{prefix}.overlay.redirect", b"/etc/passwd")


def with_whiteouts(tree: Path) -> None:
    """Entries that an overlay takes for removed: `data/gone`, and the image's own /bin/env."""
    os.mknod(tree / "data/gone", stat.S_IFCHR, os.makedev(0, 0))
    (tree / "bin/env").unlink()
    os.mknod(tree / "bin/env", stat.S_IFCHR, os.makedev(0, 0))


def with_devices(tree: Path) -> None:
    """Nodes of the node's memory, disks and loop devices, open to everybody, below `data`."""
    for name, kind, major, minor in (
        ("mem", stat.S_IFCHR, 1, 1),
        ("zero", stat.S_IFCHR, 1, 5),
        ("kmsg", stat.S_IFCHR, 1, 11),
        ("loop-control", stat.S_IFCHR, 10, 237),
        ("loop0", stat.S_IFBLK, 7, 0),
        ("vda", stat.S_IFBLK, 254, 0),
    ):
        os.mknod(tree / "data" / name, kind | 0o666, os.makedev(major, minor))
        (tree / "data" / name).chmod(0o666)


def with_odd_names(tree: Path) -> None:
    """Names that are as long, as many, as deep and as strange as a filesystem takes."""
    for name in ("line\nend", "tab\tand \\040", "ü", ":", ",", "a" * LONGEST_NAME, "-rf", "$(id)"):
        (tree / "data" / name).mkdir()
        (tree / name).mkdir()
    os.mkdir(os.fsencode(tree / "data") + b"/\xff\xfe")
    many = tree / "data/many"
    many.mkdir()
    for number in range(5_000):
        (many / str(number)).touch()
    deep = os.open(tree / "data", os.O_PATH)
    for _ in range(250):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_PATH, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)


def with_kernel_look_alikes(tree: Path) -> None:
    """Trees that look like /proc, /sys and /dev, with what a runtime may read or write there."""
    for name in ("proc/self", "proc/1", "proc/sys/kernel", "sys/block/loop0/loop", "dev/pts"):
        (tree / name).mkdir(parents=True)
    for name in ("self/status", "self/attr", "sys/kernel/cap_last_cap", "mounts", "filesystems"):
        (tree / "proc" / name).write_text("0\n")
    (tree / "proc/self/fd").symlink_to("/etc")
    (tree / "sys/block/loop0/loop/backing_file").write_text("/etc/passwd\n")
    (tree / "dev/null").write_text("not null")
    (tree / "dev/zero").symlink_to("/etc/passwd")
    (tree / "dev/loop-control").touch()
    (tree / "dev/shm").symlink_to("/etc")


TRICKS: dict[str, Maker] = {
    "set-id bits and capabilities": with_setuid_programs,
    "attributes of overlays": with_overlay_attributes,
    "whiteouts": with_whiteouts,
    "devices": with_devices,
    "odd names": with_odd_names,
    "look-alikes of the kernel's directories": with_kernel_look_alikes,
}


def picture(*trees: Path) -> dict[str, object]:
    """What can be seen to have changed: these trees whole, `/` and `/etc`, and mounts on any."""
    seen: dict[str, object] = {}
    for tree in trees:
        for path in [tree, *tree.rglob("*")]:
            seen[str(path)] = (_status(path), _content(path))
    for directory in (Path("/"), Path("/etc")):
        seen[f"names in {directory}"] = sorted(os.listdir(directory))
    for name in ("passwd", "group", "hosts", "nsswitch.conf", "ld.so.cache"):
        path = Path("/etc", name)
        seen[str(path)] = (_status(path), _content(path)) if path.exists() else None
    watched = {"/", *(f"/{name}" for name in os.listdir("/")), "/etc/passwd", "/var/tmp"}
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    seen["mounts"] = sorted(
        place
        for place in mounts
        if place in watched or any(place.startswith(str(tree)) for tree in trees)
    )
    return seen


def _status(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return (found.st_mode, found.st_uid, found.st_gid, found.st_ino, found.st_mtime_ns)


def _content(path: Path) -> str:
    if not stat.S_ISREG(path.lstat().st_mode):
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
