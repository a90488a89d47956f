# SPDX-License-Identifier: BSD-3-Clause
"""What a shared filesystem is asked when a job starts, counted by its server.

Images and udiRoot.conf are on the GlusterFS of `shared_filesystem`, whose server logs each
operation. Cold, the node's caches have just been dropped.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from benchmarks import programs, scale_node, shared_filesystem
from benchmarks.launch import LaunchImage
from benchmarks.scale_node import Node

PROLOG, FIRST, AGAIN, ALONE = "prolog", "first ranks", "same ranks again", "ranks without a prolog"
LOOKUPS, OPENS, READS = "lookups", "opens", "reads"
KINDS = {
    "lookup": LOOKUPS, "stat": LOOKUPS, "fstat": LOOKUPS, "access": LOOKUPS, "getxattr": LOOKUPS,
    "readlink": LOOKUPS, "statfs": LOOKUPS, "open": OPENS, "opendir": OPENS, "readv": READS,
    "readdirp": READS, "readdir": READS,
}  # fmt: skip
IMAGE, METADATA, IMAGE_PATH, CONFIGURATION = "image", "metadata", "imagePath", "udiRoot.conf"
ROOT = "root"  # of the filesystem
IMAGES = (IMAGE, METADATA, IMAGE_PATH)
FILES = (*IMAGES, CONFIGURATION, ROOT)
SUFFIXES = {".squashfs": IMAGE, ".meta": METADATA}
DIRECTORIES = {"images": IMAGE_PATH, "etc": CONFIGURATION}
# [time] I [trace.c:2452:trace_open] 0-trace: 7: gfid=1edd… path=/f flags=0 fd=0x7ff4a4001618
CALL = re.compile(r"\[trace\.c:\d+:trace_(\w+?)\] .*?gfid=([0-9a-f-]+)(?: path=(\S+))?")
# [time] I [trace.c:239:trace_readv_cbk] 0-trace: 8: gfid=1edd… op_ret=131072 buf=…
ANSWER = re.compile(r"trace_readv_cbk\] .*?gfid=([0-9a-f-]+) op_ret=(\d+)")


@dataclasses.dataclass
class Traffic:
    """How often each file was asked for, by kind of operation, and how much of it was read."""

    operations: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    bytes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def count(self, kind: str, *, of: Collection[str] = FILES) -> int:
        return sum(self.operations[file, kind] for file in of)

    def __str__(self) -> str:
        counts = (f"{self.count(kind)} {kind}" for kind in (LOOKUPS, OPENS, READS))
        return f"{', '.join(counts)} of {sum(self.bytes.values())} bytes"


class Server:
    """Reads on in the server's log."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._log = shared_filesystem.server_log(shared)
        self._names: dict[str, str] = {}  # gfid to path
        self._position = 0
        self._fences = (f".fence-{number}" for number in itertools.count())

    def traffic(self) -> Traffic:
        """What it was asked since the last time."""
        fence = next(self._fences)
        # Asked for last, so when the log has it, everything before is there.
        (self._shared / fence).exists()
        with self._log.open(errors="replace") as log:
            log.seek(self._position)
            lines = log.readlines()
            self._position = log.tell()
        return read_trace((line for line in lines if fence not in line), self._names)


def read_trace(lines: Iterable[str], names: dict[str, str]) -> Traffic:
    """Add up what the server logged; `names` are paths by gfid, and get those that are new."""
    traffic = Traffic()
    for line in lines:
        if answer := ANSWER.search(line):
            gfid, size = answer.groups()
            traffic.bytes[_file_of(names.get(gfid, ""))] += int(size)
        elif (call := CALL.search(line)) and call[1] in KINDS:
            operation, gfid, path = call.groups()
            path = names.setdefault(gfid, path) if path and operation != "lookup" else path
            traffic.operations[_file_of(path or names.get(gfid, "")), KINDS[operation]] += 1
    return traffic


def measure(node: Node) -> dict[str, Traffic]:
    """A job's prolog and ranks, twice, and ranks without a prolog; each by name."""
    with (
        shared_filesystem.mounted(node.work, traced=True) as shared,
        _site_on(shared, node) as node,
    ):
        server = Server(shared)
        seen: dict[str, Traffic] = {}
        _forget(server)
        with scale_node.prepared(node, scale_node.node_list(1, node.ranks)):
            seen[PROLOG] = server.traffic()
            for name in (FIRST, AGAIN):
                scale_node.launch(node, variables=node.variables)
                seen[name] = server.traffic()
        scale_node.launch(node, f"--image=id:{node.image.image_id}")
        seen[ALONE] = server.traffic()
    return seen


@contextlib.contextmanager
def _site_on(shared: Path, node: Node) -> Iterator[Node]:
    """Images and udiRoot.conf are on that filesystem: the node as it is then."""
    place = node.installation.prefix / "etc"
    local = node.installation.config.read_text()
    try:
        images = shared / "images"
        node.installation.config.write_text(_with_images(local, images))
        shared_filesystem.fill(shared, lambda brick: _put(node, place, brick))
    finally:
        node.installation.config.write_text(local)
    programs.run(["mount", "--bind", shared / "etc", place])
    try:
        image = LaunchImage(node.image.image_id, images / node.image.path.name)
        yield dataclasses.replace(node, image=image)
    finally:
        programs.run(["umount", place])


def _with_images(config: str, images: Path) -> str:
    lines = (
        f"imagePath = {images}" if line.startswith("imagePath") else line
        for line in config.splitlines()
    )
    return "\n".join(lines) + "\n"


def _put(node: Node, place: Path, brick: Path) -> None:
    shutil.copytree(place, brick / "etc", symlinks=True)
    (brick / "images").mkdir()
    for path in node.image.path.parent.glob(f"{node.image.image_id}.*"):
        shutil.copy(path, brick / "images")


def _forget(server: Server) -> None:
    programs.run(["sync"])
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    server.traffic()


def _file_of(path: str) -> str:
    """Which of FILES; a directory goes with what is in it."""
    top = path.strip("/").partition("/")[0]
    return SUFFIXES.get(Path(path).suffix) or DIRECTORIES.get(top, ROOT)
