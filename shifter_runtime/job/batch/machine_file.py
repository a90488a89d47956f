# SPDX-License-Identifier: BSD-3-Clause
"""The nodes of a job as batch systems write them, made into `host1/2 host2/1`.

Whether a word can be the name of a host is not decided here: setupRoot does that.
"""

from __future__ import annotations

from shifter_runtime.errors import UsageError

_LONGEST_NUMBER = 7  # digits


def of_lines(text: str) -> str:
    """A machine file: a line for each task, or for each host with a number of tasks.

    `host`, as PBS and LSF; `host 4 queue …`, as Grid Engine; `host:4` and `host slots=4`, as MPI.
    """
    pairs = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        host, _, number = words[0].partition(":")
        if len(words) > 1:
            number = words[1].removeprefix("slots=")
        pairs.append((host, _number(number, line) if number else 1))
    return _spec(pairs)


def of_pairs(text: str) -> str:
    """LSF's variable: `host1 4 host2 4`."""
    words = text.split()
    if len(words) % 2:
        raise UsageError(f"not a list of hosts and numbers of tasks: {text[:300]!r}")
    return _spec(
        [(host, _number(n, text)) for host, n in zip(words[::2], words[1::2], strict=True)]
    )


def of_slots(text: str) -> str:
    """The attribute exec_host of PBS: `host1/0+host1/1`, `host1/0-3,6`, `host1/0*4`."""
    pairs = []
    for part in text.split("+"):
        host, _, slots = part.strip().partition("/")
        if host:
            pairs.append((host, _slots(slots, part)))
    return _spec(pairs)


def _slots(text: str, shown: str) -> int:
    _, star, number = text.partition("*")
    if star:
        return _number(number, shown)
    found = 0
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        found += _number(last, shown) - _number(first, shown) + 1 if dash else 1
    return max(found, 1)


def _spec(pairs: list[tuple[str, int]]) -> str:
    """What follows each other on one host is one entry; the order is that of the tasks."""
    merged: list[tuple[str, int]] = []
    for host, tasks in pairs:
        if merged and merged[-1][0] == host:
            tasks += merged.pop()[1]
        merged.append((host, tasks))
    return " ".join(f"{host}/{tasks}" for host, tasks in merged)


def _number(text: str, shown: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER:
        raise UsageError(f"{text[:64]!r} is no number of tasks, in {shown[:300]!r}")
    return int(text)
