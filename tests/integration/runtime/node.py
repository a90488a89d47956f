# SPDX-License-Identifier: BSD-3-Clause
"""A node on which Shifter is installed: a real set-uid launcher, real mounts, and invented users.

The users exist in etcPath/passwd only, so that no account of the machine is touched.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ALICE, BOB = 61001, 61002
PROJECT = 61500
IMAGE_ID = "a" * 64

PASSWD = f"""\
root:x:0:0:root:/root:/bin/bash
alice:x:{ALICE}:{ALICE}:Alice Example:/home/alice:/bin/bash
bob:x:{BOB}:{BOB}:Bob Example:/home/bob:/bin/sh
"""
GROUP = f"""\
root:x:0:
alice:x:{ALICE}:
bob:x:{BOB}:
project:x:{PROJECT}:bob
"""

TreeMaker = Callable[[Path], None]


class Node:
    """One installation with its own images, shared directories and mount points."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.launcher = prefix / "bin/shifter"
        self.images = prefix / "images"
        self.shared = prefix / "shared"  # siteFs shows it as /shared
        self.config = prefix / "etc/udiRoot.conf"

    def configure(self, **settings: object) -> None:
        """Write udiRoot.conf: the usual, with these keys changed or (None) left out."""
        keys: dict[str, object] = {
            "udiMount": self.prefix / "udi",
            "loopMount": self.prefix / "loop",
            "imagePath": self.images,
            "udiRootPath": self.prefix,
            "etcPath": self.prefix / "etc/files",
            "siteFs": f"{self.shared}:/shared",
            "siteEnv": "SHIFTER_RUNTIME=1",
            "maxGroupCount": 31,
            "system": "cluster",
            "defaultImageType": "docker",
            "imageGateway": "http://127.0.0.1:9",
        } | settings
        lines = [f"{key} = {value}\n" for key, value in keys.items() if value is not None]
        self.config.write_text("".join(lines))

    def add_image(
        self,
        make: TreeMaker | None = None,
        *,
        image_id: str = IMAGE_ID,
        meta: str = "",
        format: str = "squashfs",
        compressor: str = "zstd",
    ) -> Path:
        """Put an image of busybox and what `make` adds to the tree; its file or directory."""
        tree = self.prefix / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for name in ("bin", "etc", "usr", "home", "data"):
            (tree / name).mkdir(parents=True)
        shutil.copy2("/bin/busybox", tree / "bin/busybox")
        for name in ("sh", "cat", "ls", "id", "env", "pwd", "rm", "sleep", "touch", "true"):
            (tree / "bin" / name).symlink_to("busybox")
        (tree / "etc/os-release").write_text("ID=busybox\n")
        if make:
            make(tree)
        image = self.images / f"{image_id}.{format}"
        if format == "squashfs":
            _pack_squashfs(tree, image, compressor)
        else:
            _PACKERS[format](tree, image)
        shutil.rmtree(tree, ignore_errors=True)
        metadata = f"FORMAT: {format}\nENV: PATH=/bin\n{meta}"
        (self.images / f"{image_id}.meta").write_text(metadata)
        return image

    def start(
        self,
        *words: str | bytes | Path,
        user: int = ALICE,
        groups: tuple[int, ...] = (),
        image: str | None = f"id:{IMAGE_ID}",
        **options: object,
    ) -> subprocess.Popen[str]:
        image_option = [] if image is None else [f"--image={image}"]
        return subprocess.Popen(
            [options.pop("launcher", self.launcher), *image_option, *words],
            user=user, group=user, extra_groups=(user, *groups),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **({"cwd": "/", "env": {"PATH": "/usr/bin"}, "stdin": subprocess.DEVNULL} | options),
        )  # fmt: skip

    def run(
        self, *words: str | bytes | Path, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run `shifter` as an unprivileged user, by default in the image that was added."""
        process = self.start(*words, **options)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def shell(self, script: str, *options: str, **more: object) -> str:
        """The output of a shell script in the container, which must succeed."""
        done = self.run(*options, "sh", "-c", script, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _pack_squashfs(tree: Path, image: Path, compressor: str) -> None:
    # At zstd's usual level, most of the time of most tests would go into their images.
    quick = ["-Xcompression-level", "1"] if compressor == "zstd" else []
    quiet = ["-noappend", "-quiet", "-no-progress"]
    _pack(["mksquashfs", tree, image, *quiet, "-comp", compressor, *quick])
    image.chmod(0o600)


def _pack_ext4(tree: Path, image: Path) -> None:
    """As a site may have made it by hand, with a journal."""
    _pack(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "32M"])
    image.chmod(0o600)


def _pack_xfs(tree: Path, image: Path) -> None:
    """As a site may have made it by hand: mkfs.xfs takes a tree only as a list of its files."""
    lines = ["unused", "0 0", "d--755 0 0", *_xfs_entries(tree), "$", "$"]
    list_file = image.with_suffix(".list")
    list_file.write_text("\n".join(lines) + "\n")
    with image.open("wb") as file:
        file.truncate(300 << 20)
    _pack(["mkfs.xfs", "-q", "-p", list_file, image])
    list_file.unlink()
    image.chmod(0o600)


def _xfs_entries(directory: Path) -> Iterator[str]:
    for path in sorted(directory.iterdir()):
        mode = path.lstat().st_mode
        kind = {stat.S_IFLNK: "l", stat.S_IFDIR: "d", stat.S_IFCHR: "c"}.get(stat.S_IFMT(mode), "-")
        suid = "u" if mode & stat.S_ISUID else "-"
        line = f"{path.name} {kind}{suid}-{mode & 0o777:03o} 0 0"
        if kind == "l":
            yield f"{line} {path.readlink()}"
        elif kind == "d":
            yield line
            yield from _xfs_entries(path)
            yield "$"
        elif kind == "c":
            device = path.lstat().st_rdev
            yield f"{line} {os.major(device)} {os.minor(device)}"
        else:
            yield f"{line} {path}"


def _move(tree: Path, image: Path) -> None:
    shutil.rmtree(image, ignore_errors=True)
    tree.rename(image)
    image.chmod(0o700)


_PACKERS = {"ext4": _pack_ext4, "xfs": _pack_xfs, "VFS": _move}


def _pack(command: list[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def host_state(prefix: Path) -> list[str]:
    """What of this installation is in use on the node: mounts, and files behind loop devices."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    devices = [_text(path) for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return sorted(line for line in mounts + devices if str(prefix) in line)


def wait_until(happened: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # released at this moment
        return ""


def make_setuid_shell(tree: Path) -> None:
    shutil.copy2("/bin/busybox", tree / "bin/busybox-suid")
    (tree / "bin/busybox-suid").chmod(0o4755 | stat.S_IXOTH)
