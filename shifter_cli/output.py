# SPDX-License-Identifier: BSD-3-Clause
"""What people and scripts read: the original's lines, and a livelier one on a terminal."""

from __future__ import annotations

import json
import pwd
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from shifter_cli.errors import GatewayUnreachableError
from shifter_cli.records import ImageRecord, LookupRow, QueuedPull
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

if TYPE_CHECKING:
    from shifter_cli.exchange import Answer

PULLING, IMPORTING = "Pulling", "Importing"
UNTAGGED = "<none>"  # an image that lost its last tag can still be used by its id


def image_lines(records: Iterable[ImageRecord], *, long: bool = False) -> list[str]:
    """One line per tag, sorted by tag bytewise; images without a tag come last."""
    rows = [(not r.tags, tag, r) for r in records for tag in sorted(r.tags) or [UNTAGGED]]
    rows.sort(key=lambda row: (row[0], row[1].encode("utf-8", "replace"), row[2].image_id))
    line = _long_line if long else _image_line
    return [line(record, tag) for _, tag, record in rows]


def queue_line(pull: QueuedPull) -> str:
    return printable(f"{pull.state:<12} {pull.tag}")


def lookup_line(row: LookupRow) -> str:
    return printable(
        f"{_local_time(row.time)} {row.user:<10} {row.image_id[:10]:<10} {row.image_type}:{row.tag}"
    )


def pull_line(reference: ImageReference, state: str, now: float, doing: str = PULLING) -> str:
    """The line that scripts take the state from: its sixth word."""
    return printable(f"{_local_time(now)} {doing} Image: {reference}, status: {state}")


def bytes_text(count: float) -> str:
    """Decimal units, as registries and disks are sold: 1 MB is 1,000,000 bytes."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def show_json(value: object) -> None:
    say(json.dumps(value, separators=(",", ":")))


def show_answer(answer: Answer) -> None:
    """What a gateway answered, for `--verbose`."""
    if answer.status != 200:
        say(f"Got response: {answer.status}")
    say(f"Message: {printable(answer.text.rstrip())}")


def say(text: str) -> None:
    print(text, flush=True)


def show_errors(errors: Iterable[ShifterError], program: str) -> None:
    """Each error once; the same silent gateway may have failed several images."""
    for text, error in {str(error): error for error in errors}.items():
        # The words that scripts know from the original.
        prefix = "ERROR" if isinstance(error, GatewayUnreachableError) else program
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


def _long_line(record: ImageRecord, tag: str) -> str:
    """What a listing has no room for: the whole id, size, expiration and puller."""
    size = "-" if record.size is None else bytes_text(record.size)
    expires = "-" if record.expiration is None else _local_time(record.expiration)[:10]
    puller = "-" if record.puller is None else _user_name(record.puller)
    when = _local_time(record.last_pull)
    return printable(
        f"{record.image_type:<8} {record.image_id:<64} {size:>9} {when} {expires:<10} "
        f"{puller:<10} {tag}"
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _local_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
