# SPDX-License-Identifier: BSD-3-Clause
"""What people and scripts read: the original's lines, and a livelier one on a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from shifter_cli.errors import GatewayUnreachableError
from shifter_cli.records import ImageRecord, QueuedPull
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

if TYPE_CHECKING:
    from shifter_cli.gateway import Answer

UNTAGGED = "<none>"  # an image that lost its last tag can still be used by its id


def image_lines(records: Iterable[ImageRecord]) -> list[str]:
    """One line per tag, sorted by tag bytewise; images without a tag come last."""
    rows = [(not r.tags, tag, r) for r in records for tag in sorted(r.tags) or [UNTAGGED]]
    rows.sort(key=lambda row: (row[0], row[1].encode("utf-8", "replace"), row[2].image_id))
    return [_image_line(record, tag) for _, tag, record in rows]


def queue_line(pull: QueuedPull) -> str:
    return printable(f"{pull.state:<12} {pull.tag}")


def pull_line(reference: ImageReference, state: str, now: float) -> str:
    """The line that scripts take the state from: its sixth word."""
    return printable(f"{_local_time(now)} Pulling Image: {reference}, status: {state}")


def show_json(value: object) -> None:
    say(json.dumps(value, separators=(",", ":")))


def show_answer(answer: Answer) -> None:
    """What a gateway answered, for `--verbose`."""
    if answer.status != 200:
        say(f"Got response: {answer.status}")
    say(f"Message: {printable(answer.text.rstrip())}")


def say(text: str) -> None:
    print(text, flush=True)


def show_errors(errors: Iterable[ShifterError]) -> None:
    """Each error once; the same silent gateway may have failed several images."""
    for text, error in {str(error): error for error in errors}.items():
        # The words that scripts know from the original.
        prefix = "ERROR" if isinstance(error, GatewayUnreachableError) else "shifterimg"
        complain(text, prefix)


def complain(text: str, prefix: str = "shifterimg") -> None:
    """Tell a person why; standard output is for scripts."""
    if sys.stderr is None:  # closed by the caller; print() would take standard output
        return
    for line in text.split("\n"):
        if line:
            print(f"{prefix}: {printable(line)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Text from elsewhere without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _image_line(record: ImageRecord, tag: str) -> str:
    when = _local_time(record.last_pull)
    return printable(
        f"{record.system:<10} {record.image_type:<10} {record.state:<8} "
        f"{record.image_id[:10]}   {when} {tag:<30}"
    )


def _local_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
