# SPDX-License-Identifier: BSD-3-Clause
"""Times, sizes, people and commands as the page writes them."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from shifter_common.sizes import bytes_text
from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import accounts

_UNITS = (("year", 365 * 86400), ("month", 30 * 86400), ("week", 7 * 86400), ("day", 86400)) + (
    ("hour", 3600),
    ("minute", 60),
)
_ID_SHOWN = 12  # characters of a digest that tell images apart


def size(count: float | None) -> str:
    return "unknown" if count is None else bytes_text(count)


def number(count: float) -> str:
    return f"{count:,.0f}".replace(",", "\u202f")


def iso(seconds: float) -> str:
    return _moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(seconds: float) -> str:
    return _moment(seconds).strftime("%-d %b %Y, %H:%M UTC")


def ago(seconds: float, now: float) -> str:
    """How long ago, or how far ahead, in one word and a number."""
    away = abs(now - seconds)
    for unit, length in _UNITS:
        if away >= length:
            count = int(away // length)
            span = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{span} ago" if seconds < now else f"in {span}"
    return "just now" if seconds <= now else "in a moment"


def built(created: str) -> str:
    """The day that an image's config names, or whatever else it says there."""
    try:
        return datetime.fromisoformat(created).strftime("%-d %b %Y")
    except ValueError:
        return created


def built_by(command: str) -> str:
    """A step of a build as its author wrote it."""
    for prefix in ("/bin/sh -c #(nop) ", "/bin/sh -c "):
        if command.startswith(prefix):
            return command.removeprefix(prefix).strip()
    return command


def user(uid: int) -> str:
    return accounts.name_of(uid) or f"user {uid}"


def group(gid: int) -> str:
    return accounts.name_of_group(gid) or f"group {gid}"


def short(identifier: str | None) -> str:
    """The beginning of an id or a digest."""
    return (identifier or "").removeprefix("sha256:")[:_ID_SHOWN]


def reference(record: ImageRecord, tag: str | None = None) -> str:
    """What a user types to have this image."""
    tag = tag or (record.tags[0] if record.tags else None)
    return f"id:{record.image_id}" if tag is None else f"{record.image_type}:{tag}"


def sentence(reason: str) -> str:
    """What was said in the course of a line, as a whole sentence."""
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith(('.', '!', '?')) else '.'}"


def shell(word: str) -> str:
    """A word that a shell takes as it is."""
    return shlex.quote(word)


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # some gateway's, long ago
        return datetime.fromtimestamp(0, UTC)


def variable(text: str) -> tuple[str, str]:
    """Name and value of `NAME=value`."""
    name, _, value = text.partition("=")
    return name, value
