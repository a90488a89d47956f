# SPDX-License-Identifier: BSD-3-Clause
"""What a person who waits is shown: a line for each image, and its layers below, as far as fits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from shifter_cli import output
from shifter_cli.gateway.records import LayerProgress

_STATE_WIDTH = 11  # EXAMINATION
_LEAST_NAME = 16  # a name gives way to numbers until it is this short
_ROOM_FOR_NUMBERS = 52  # columns, of what stands behind names that are aligned
_MOST_LAYERS = 8  # of one image; others are counted
_DIGEST_WIDTH = 12
_LEAST_BAR, _MOST_BAR = 8, 40
_ROOM_FOR_SIZES = 60  # columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Something under way, and how far it is; `rate` is in bytes per second."""

    name: str
    state: str
    message: str = ""
    done: int | None = None
    total: int | None = None
    rate: float | None = None
    layers: tuple[LayerProgress, ...] = ()


def lines(jobs: Sequence[Job], columns: int, rows: int, *, ascii_only: bool = False) -> list[str]:
    """At most `rows` lines of less than `columns`: one that wraps could not be rewritten."""
    if not jobs or rows < 1:
        return []
    shown = list(jobs) if len(jobs) <= rows else list(jobs[: max(rows - 1, 1)])
    room = rows - len(shown) - (len(shown) < len(jobs))
    with_layers = sum(1 for job in shown if _has_layers(job))
    each = min(room // with_layers, _MOST_LAYERS + 1) if with_layers else 0
    bar = "=-" if ascii_only else "━─"
    name_width = 0
    if len(shown) > 1:  # then states stand below each other
        longest = max(len(job.name) for job in shown)
        name_width = min(longest, max(columns - _ROOM_FOR_NUMBERS, _LEAST_NAME))
    text = []
    for job in shown:
        text.append(_headline(job, columns - 1, name_width))
        text += [line[: columns - 1] for line in _layer_lines(job, columns - 1, each, bar)]
    if len(shown) < len(jobs) and len(text) < rows:
        text.append(f"and {len(jobs) - len(shown)} more"[: columns - 1])
    return text


def headline(job: Job, columns: int) -> str:
    return _headline(job, columns - 1, 0)


def _headline(job: Job, width: int, name_width: int) -> str:
    """The name, the state and as much of the numbers as leaves some of the name."""
    least = name_width or min(len(job.name), _LEAST_NAME)
    room = max(width - least - 2, 0)
    tails = [f"{job.state:<{_STATE_WIDTH}} {detail}".rstrip() for detail in _details(job)]
    tail = next((tail for tail in tails if len(tail) <= room), None)
    if tail is None:
        tail = f"{tails[-1][: room - 1]}…" if room > len(job.state) else job.state
    name = _shortened(job.name, name_width or width - len(tail) - 2)
    return output.printable(f"{name:<{name_width}}  {tail}"[:width])


def _details(job: Job) -> list[str]:
    """What there is to say, the longest first."""
    done, total = job.done, job.total
    if done is None or (total is not None and done >= total):
        return [job.message] if job.message else [""]
    amount = output.bytes_text(done)
    rate = [f"{output.bytes_text(job.rate)}/s"] if job.rate is not None else []
    if not total:
        return ["  ".join([amount, *rate]), amount, ""]
    share = f"{100 * done // total} %"
    left = [f"{output.duration_text((total - done) / job.rate)} left"] if job.rate else []
    full = f"{amount} of {output.bytes_text(total)}"
    parts = ([full, share, *rate, *left], [full, share, *left], [share, *rate, *left])
    return ["  ".join(some) for some in (*parts, [share, *left], [share])]


def _has_layers(job: Job) -> bool:
    return any(not layer.is_done for layer in job.layers)


def _layer_lines(job: Job, width: int, room: int, bar: str) -> list[str]:
    """Each layer, or those that are coming just now and how many others there are."""
    if not _has_layers(job) or room < 1:
        return []
    if len(job.layers) <= min(room, _MOST_LAYERS):
        return [_layer_line(layer, width, bar) for layer in job.layers]
    active = [layer for layer in job.layers if layer.done and not layer.is_done]
    done = sum(1 for layer in job.layers if layer.is_done)
    shown = active[: room - 1]
    counts = (
        (len(active) - len(shown), "more coming"),
        (done, "done"),
        (len(job.layers) - done - len(active), "waiting"),
    )
    words = ", ".join(f"{count} {what}" for count, what in counts if count)
    return [*(_layer_line(layer, width, bar) for layer in shown), f"  layers: {words}"]


def _layer_line(layer: LayerProgress, width: int, bar: str) -> str:
    digest = output.printable(layer.digest.rpartition(":")[2][:_DIGEST_WIDTH])
    head = f"  {digest:<{_DIGEST_WIDTH}}"
    if not layer.size:
        return f"{head}  {output.bytes_text(layer.done)}"
    done = min(layer.done, layer.size)
    text = f"{100 * done // layer.size:>3} %"
    if width + 1 >= _ROOM_FOR_SIZES:
        text = f"{output.bytes_text(done):>8} of {output.bytes_text(layer.size):>8}  {text}"
    room = min(width - len(head) - len(text) - 4, _MOST_BAR)
    if room < _LEAST_BAR:
        return f"{head}  {text}"
    filled = math.floor(room * done / layer.size)
    return f"{head}  {bar[0] * filled}{bar[1] * (room - filled)}  {text}"


def _shortened(name: str, room: int) -> str:
    """The end of a long name: there its tag is."""
    return name if len(name) <= room or room < 2 else "…" + name[len(name) - room + 1 :]
