# SPDX-License-Identifier: BSD-3-Clause
"""What the node has: the image's file, a kernel that reads it, loop devices, memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shifter_cli import output
from shifter_cli.doctor.findings import Observation, note, ok, problem
from shifter_runtime.request import Request

_FORMATS = ("squashfs", "ext4", "xfs", "VFS")
_MOUNTED = ("squashfs", "ext4", "xfs")
# What OCI calls the machines of uname(2).
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_OLDEST_KERNEL = (5, 12)


class Node:
    """The files of the kernel's that tell about it, below `root`."""

    def __init__(self, root: str = "/") -> None:
        self._root = Path(root)

    def text(self, path: str) -> str:
        """The content of a file; nothing where there is none to be read."""
        try:
            return (self._root / path).read_text(errors="replace")
        except OSError:
            return ""

    def has(self, path: str) -> bool:
        return (self._root / path).exists()

    def loop_files(self) -> list[str]:
        """What lies behind each loop device in use."""
        devices = (self._root / "sys/block").glob("loop*")
        texts = (self.text(f"sys/block/{one.name}/loop/backing_file") for one in devices)
        return [text.rstrip("\n") for text in texts if text]


def file(image_path: str, image_id: str, node: Node) -> Iterator[Observation]:
    """Whether the image lies where this node looks for it."""
    for kind in _FORMATS:
        path = f"{image_path}/{image_id}.{kind}"
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            continue
        except PermissionError:
            yield ok("file", f"in {image_path}, which only root looks into")
            return
        except OSError as error:
            yield note("file", f"{path}: {error.strerror}, so that it was not looked at")
            return
        there = " and mounted by somebody already" if path in node.loop_files() else ""
        where = filesystem_of(os.path.realpath(path), node)
        text = output.bytes_text(size) if kind != "VFS" else "a directory"
        yield ok("file", f"{path}: {text}, on {where or 'this node'}{there}")
        return
    missing = f"there is no file of the image in {image_path} on this node"
    advice = "pull the image again; if that does not help, is the filesystem mounted here?"
    if not os.path.isdir(image_path):
        missing, advice = f"{image_path} is not there", "is its filesystem mounted here?"
    yield problem("file", missing, advice)


def filesystem_of(path: str, node: Node) -> str:
    """The type of the filesystem that a path is on."""
    found, longest = "", -1
    for line in node.text("proc/self/mountinfo").splitlines():
        fields = line.split()
        if "-" not in fields or len(fields) < 10:
            continue
        target = fields[4].encode().decode("unicode_escape", "replace")
        inside = path == target or path.startswith(target.rstrip("/") + "/")
        if inside and len(target) >= longest:
            found, longest = fields[fields.index("-") + 1], len(target)
    return found


def kernel(image_format: str, node: Node, release: str) -> Iterator[Observation]:
    """Whether the kernel can mount what the image is."""
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if version < _OLDEST_KERNEL:
        yield problem(
            "kernel", f"Linux {release} is too old, 5.12 or newer is needed", "try another node"
        )
        return
    needed = ["overlay", *([image_format] if image_format in _MOUNTED else [])]
    missing = [name for name in needed if not _has_filesystem(name, node, release)]
    if missing:
        yield problem(
            "kernel",
            f"Linux {release} of this node has no {', no '.join(missing)}",
            f"ask the site's support to load it: modprobe {' '.join(missing)}",
        )
        return
    yield ok("kernel", f"Linux {release} has {' and '.join(needed)}")


def _has_filesystem(name: str, node: Node, release: str) -> bool:
    registered = [line.split()[-1] for line in node.text("proc/filesystems").splitlines() if line]
    if name in registered:
        return True
    listings = [node.text(f"lib/modules/{release}/modules.{one}") for one in ("dep", "builtin")]
    return any(f"/{name}.ko" in text for text in listings)


def processor(architecture: str, machine: str) -> Iterator[Observation]:
    """Whether programs of the image are for the processors of the node; both by their names."""
    own = _ARCHITECTURES.get(machine, machine)
    if not architecture or architecture in (own, machine):
        return
    yield problem(
        "processor",
        f"programs of the image are for {architecture}, this node has {own}",
        f"use an image for {own}: many repositories have one under the same tag, or tags for each",
    )


def loop_devices(image_format: str, node: Node) -> Iterator[Observation]:
    if image_format not in _MOUNTED:
        return
    if not node.has("dev/loop-control"):
        yield problem(
            "loop",
            "this node has no /dev/loop-control, so that no image can be mounted",
            "ask the site's support to load it: modprobe loop",
        )
        return
    used = len(node.loop_files())
    yield ok("loop", f"{used} loop device{'s' * (used != 1)} in use; more are made when needed")


def memory(request: Request, node: Node) -> Iterator[Observation]:
    """Whether what is kept in memory fits there."""
    wanted = [(f"--mount at {spec.target}", spec.size) for spec in request.tmpfs]
    if request.writable is not None:
        wanted.append(("--writable", request.writable or None))
    if not wanted:
        return
    available = available_memory(node)
    if available is None:
        return
    free = f"{output.bytes_text(available)} are available"
    limited = sum(size for _, size in wanted if size)
    if limited > available:
        what = " and ".join(name for name, size in wanted if size)
        yield problem(
            "memory",
            f"{what} may grow to {output.bytes_text(limited)}, but {free}",
            "give a smaller size, or ask for a node or a job with more memory",
        )
        return
    for name, size in wanted:
        if not size:
            yield note(
                "memory",
                f"{name} has no limit: what is written fills the memory of the job; {free}",
                f"write {name.partition(' ')[0]}{'=2G' if name == '--writable' else '…:size=2G'}",
            )
    if limited:
        yield ok("memory", f"{output.bytes_text(limited)} may be written in memory; {free}")


def available_memory(node: Node) -> int | None:
    """Bytes that may still be used: of the node, or of the control group of this process."""
    numbers = []
    for line in node.text("proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            numbers.append(int(rest.split()[0]) * 1024)
    numbers += _left_in_groups(node)
    return min(numbers, default=None)


def _left_in_groups(node: Node) -> Iterator[int]:
    for line in node.text("proc/self/cgroup").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if number == "0":
            base, limit, usage = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base = "sys/fs/cgroup/memory"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            place = "/".join([base, *parts[:depth]])
            most, used = (
                node.text(f"{place}/{limit}").strip(),
                node.text(f"{place}/{usage}").strip(),
            )
            if most.isdigit() and used.isdigit():
                yield max(0, int(most) - int(used))
