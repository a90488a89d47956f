# SPDX-License-Identifier: BSD-3-Clause
"""The peak memory of each process of a running program, read from /proc while it works."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

INTERVAL = 0.03  # seconds between two looks; the kernel keeps the peak, so only births are missed


@dataclasses.dataclass
class ProcessMemory:
    """A process that was seen, and the most memory it ever held (VmHWM)."""

    pid: int
    parent: int
    name: str
    peak: int  # bytes


class MemoryWatch:
    """Everything below one process."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, ProcessMemory] = {}

    def look(self) -> None:
        """Note every process of the tree as it is now."""
        pending = [self._root]
        while pending:
            pid = pending.pop()
            # A process may end between any two reads.
            with contextlib.suppress(OSError):
                found = _read(pid)
                known = self._seen.get(pid)
                # Executing another program starts the peak anew, and changes the name.
                if known is not None and known.name == found.name:
                    found.peak = max(found.peak, known.peak)
                self._seen[pid] = found
                pending += _children(pid)

    def named(self, name: str) -> list[ProcessMemory]:
        return [one for one in self._seen.values() if one.name == name]

    def parents_of(self, processes: list[ProcessMemory]) -> list[ProcessMemory]:
        return [self._seen[pid] for pid in {one.parent for one in processes} if pid in self._seen]

    def largest(self) -> int:
        """Bytes of the process that held most."""
        return max((one.peak for one in self._seen.values()), default=0)


@contextlib.contextmanager
def watching(root: int) -> Iterator[MemoryWatch]:
    """Look at the tree below `root` again and again until the block ends."""
    watch = MemoryWatch(root)
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(INTERVAL):
            watch.look()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.look()


def _read(pid: int) -> ProcessMemory:
    fields = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        if ":\t" in line
    )
    peak = int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
    return ProcessMemory(pid, int(fields["PPid"]), fields["Name"], peak)


def _children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
