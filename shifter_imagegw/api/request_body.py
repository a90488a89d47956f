# SPDX-License-Identifier: BSD-3-Clause
"""The JSON body of a request: who may read an image, what is to be imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import BadRequestError
from shifter_imagegw.rules import accounts

_HIGHEST_ID = 2**32 - 2  # the last one means "no such user" to the kernel
_MOST_IDS = 1000  # what the runtime of the original reads in one list
_LONGEST_NAME = 256
_LONGEST_SHOWN = 80  # characters of what was wrong, in a sentence about it


class RequestBody:
    """A JSON object; keys that nobody asks for are nobody's business."""

    def __init__(self, text: bytes) -> None:
        """Read `text`; the original's client sends an empty body for an empty object."""
        self._content = _parsed(text) if text else {}

    def acl(self) -> Acl:
        """Who may read, by number (`allowed_uids`) and by name (`allowed_users`); so for groups."""
        return Acl(
            users=self._ids("allowed_uids", "allowed_users", "user", accounts.uid_of),
            groups=self._ids("allowed_gids", "allowed_groups", "group", accounts.gid_of),
        )

    def text(self, key: str) -> str:
        """Text that must be there."""
        value = self._content.get(key)
        if not isinstance(value, str) or not value:
            raise BadRequestError(f"the request's body has no text {key!r}")
        return value

    def flag(self, key: str) -> bool:
        """True or false; where it is not there, false."""
        value = self._content.get(key, False)
        if not isinstance(value, bool):
            raise BadRequestError(f"{key} must be true or false, not {_shown(value)}")
        return value

    def _ids(
        self, numbers: str, names: str, kind: str, id_of: Callable[[str], int | None]
    ) -> tuple[int, ...]:
        found = [_number(numbers, item) for item in self._items(numbers, "numbers")]
        named = tuple(dict.fromkeys(_name(names, item) for item in self._items(names, "names")))
        _require_few(max(len(set(found)), len(named)), numbers, names, kind)
        # Only now: a directory service is asked for each.
        found += [_named(names, name, kind, id_of) for name in named]
        ids = tuple(dict.fromkeys(found))
        _require_few(len(ids), numbers, names, kind)
        return ids

    def _items(self, key: str, kind: str) -> Iterator[object]:
        """Items of a text with commas between them (the original's form) or of a JSON list."""
        value = self._content.get(key)
        if value is None or value == "":
            return iter(())
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list):
            raise BadRequestError(
                f"{key} must be {kind} with commas between them, not {_shown(value)}"
            )
        return iter(items)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the request's body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadRequestError("the request's body must be a JSON object")
    return content


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers of JSON disagree on which of two equal keys counts: none of ours has to choose."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise BadRequestError(f"the request's body holds {_shown(key)} more than once")
        content[key] = value
    return content


def _require_few(count: int, numbers: str, names: str, kind: str) -> None:
    if count > _MOST_IDS:
        raise BadRequestError(
            f"{numbers} and {names} hold {count} {kind}s, at most {_MOST_IDS} are allowed"
        )


def _number(key: str, item: object) -> int:
    text = str(item).strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= _HIGHEST_ID):
        raise BadRequestError(f"{key} must be numbers with commas between them, not {_shown(item)}")
    return int(text)


def _name(key: str, item: object) -> str:
    name = item.strip() if isinstance(item, str) else ""
    if not name or len(name) > _LONGEST_NAME:
        raise BadRequestError(f"{key} must be names with commas between them, not {_shown(item)}")
    return name


def _named(key: str, name: str, kind: str, id_of: Callable[[str], int | None]) -> int:
    number = id_of(name)
    if number is None:
        raise BadRequestError(f"{key}: the gateway knows no {kind} {_shown(name)}")
    return number


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
