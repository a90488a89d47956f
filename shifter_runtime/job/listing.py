# SPDX-License-Identifier: BSD-3-Clause
"""What is prepared on this node: for which job and user, of which image, and who is inside."""

from __future__ import annotations

import os
import time

from shifter_runtime import report
from shifter_runtime.job import showing, state
from shifter_runtime.job.joining import NAMESPACE, NODE, RECORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shifter_runtime.config import RuntimeConfig

    Process = tuple[int, str]  # number and name
    Inside = dict[tuple[int, int], list[Process]]  # by device and inode of their mount namespace

_TIME = "%Y-%m-%dT%H:%M:%S%z"
_SHORT_ID = 12
_HEADINGS = ("JOB", "USER", "IMAGE", "SINCE", "PROCESSES")
_UNKNOWN = "-"


def read(config: RuntimeConfig) -> list[dict[str, Any]]:
    """What is kept, as it is shown in JSON; what was left unfinished has no user and no image."""
    inside = _processes()
    shown = showing.owner(config)
    kept = []
    for name in state.names():
        entry: dict[str, Any] = {
            "job": None if name == NODE else name,
            "prepared": False,
            "shown": name == shown,
            "processes": [
                {"pid": number, "name": title} for number, title in _inside(name, inside)
            ],
        }
        record = state.read_record(name)
        if record is not None:
            image, volumes, modules = record.parts()
            entry |= {
                "prepared": True,
                "user": record.user,
                "uid": record.uid,
                "image": image,
                "request": record.request,
                "volumes": volumes,
                "modules": modules.rstrip(","),
                "since": _since(name),
            }
        kept.append(entry)
    return kept


def as_json(kept: list[dict[str, Any]]) -> str:
    return f"{report.to_json(kept)}\n"


def as_table(kept: list[dict[str, Any]]) -> str:
    """A line for each, for people; the image as it was called, if that is known."""
    rows = [_HEADINGS, *map(_row, kept)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    image = entry.get("request") or entry.get("image", _UNKNOWN)
    is_id = image == entry.get("image") and not image.startswith("/")
    return (
        entry["job"] or "(node)",
        entry.get("user", "(unfinished)"),
        image[:_SHORT_ID] if is_id else image,
        entry.get("since", _UNKNOWN),
        str(len(entry["processes"])),
    )


def processes_in(name: str) -> list[Process]:
    """Number and name of each process that is inside."""
    return _inside(name, _processes())


def _inside(name: str, processes: Inside) -> list[Process]:
    try:
        wanted = os.stat(f"{state.place_of(name)}/{NAMESPACE}")
    except OSError:
        return []
    return processes.get((wanted.st_dev, wanted.st_ino), [])


def _processes() -> Inside:
    """All processes of the node, by the mount namespace that they are in."""
    found: Inside = {}
    for word in os.listdir("/proc"):
        if not word.isdecimal():
            continue
        try:
            place = os.stat(f"/proc/{word}/ns/mnt")
            with open(f"/proc/{word}/comm", encoding="utf-8", errors="replace") as file:
                title = file.read(64).strip()
        except OSError:
            continue  # it has ended
        found.setdefault((place.st_dev, place.st_ino), []).append((int(word), title))
    return found


def _since(name: str) -> str:
    """When its record was written, by this node's clock and in its time zone."""
    try:
        seconds = os.stat(f"{state.place_of(name)}/{RECORD}").st_mtime
    except OSError:
        return _UNKNOWN  # just taken down
    return time.strftime(_TIME, time.localtime(seconds))
