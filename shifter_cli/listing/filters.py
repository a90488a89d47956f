# SPDX-License-Identifier: BSD-3-Clause
"""Which images of a listing are wanted: `owner=alice`, `size>1G`, `older=30d`."""

from __future__ import annotations

import datetime
import fnmatch
import operator
import os
import pwd
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shifter_cli.gateway.records import ImageRecord
from shifter_common.errors import ShifterError


class FilterError(ShifterError):
    """A filter that says nothing, or not what can be asked for."""


class Listed(NamedTuple):
    """One line of a listing: an image, and one of its names."""

    record: ImageRecord
    tag: str  # empty: the image has none any more


Condition = Callable[[Listed], bool]

_FORM = re.compile(r"(\w+)(<=|>=|=|<|>)(.*)", re.DOTALL)
_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_WILDCARDS = frozenset("*?[")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_AGE = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse(texts: Iterable[str], now: float) -> list[Condition]:
    """The conditions that an image must meet, all of them."""
    return [_condition(text, now) for text in texts]


def named(pattern: str) -> Condition:
    """What a user means who types part of a name, or a name with wildcards."""
    return lambda listed: _is_named(listed.tag, pattern)


def _condition(text: str, now: float) -> Condition:
    form = _FORM.fullmatch(text)
    if form is None:
        hint = ""
        if text == "size":
            hint = "; in quotes, 'size>1G', as the shell takes > for itself"
        raise FilterError(f"filter {text!r} has no value: write it as KEY=VALUE{hint}")
    key, comparison, value = form.groups()
    if key == "size":
        return _size(text, comparison, value)
    if key not in _KEYS:
        known = ", ".join(sorted([*_KEYS, "size"]))
        raise FilterError(f"there is no filter {key!r}: filters are {known}")
    if comparison != "=":
        raise FilterError(f"filter {text!r} cannot compare: write it as {key}=VALUE")
    if not value:
        raise FilterError(f"filter {text!r} has no value: write it as {key}=VALUE")
    return _KEYS[key](value, now)


def _size(text: str, comparison: str, value: str) -> Condition:
    compare = _COMPARISONS.get(comparison)
    form = _SIZE.fullmatch(value)
    if compare is None or form is None:
        raise FilterError(f"filter {text!r} is no size: write it as 'size>1G' or 'size<500M'")
    number, unit, binary = form.groups()
    step = 1024 if binary else 1000
    limit = float(number) * step ** " kmgt".index(unit.lower() or " ")
    return lambda listed: listed.record.size is not None and compare(listed.record.size, limit)


def _one_of(value: str, of: Callable[[Listed], str]) -> Condition:
    wanted = value.split(",")
    return lambda listed: any(fnmatch.fnmatchcase(of(listed), pattern) for pattern in wanted)


def _name(value: str, _: float) -> Condition:
    return lambda listed: any(_is_named(listed.tag, pattern) for pattern in value.split(","))


def _is_named(tag: str, pattern: str) -> bool:
    if _WILDCARDS.isdisjoint(pattern):
        return pattern in tag
    repository = _repository(tag)
    names = (tag, repository, tag.rpartition("/")[2], repository.rpartition("/")[2])
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _repository(tag: str) -> str:
    digest = tag.find("@")
    if digest >= 0:
        return tag[:digest]
    colon = tag.rfind(":")
    return tag[:colon] if colon > tag.rfind("/") else tag


def _tag(value: str, _: float) -> Condition:
    return _one_of(value, lambda listed: listed.tag[len(_repository(listed.tag)) + 1 :])


def _type(value: str, _: float) -> Condition:
    return _one_of(value, lambda listed: listed.record.image_type)


def _architecture(value: str, _: float) -> Condition:
    return _one_of(value, lambda listed: listed.record.architecture)


def _format(value: str, _: float) -> Condition:
    return _one_of(value, lambda listed: listed.record.format)


def _id(value: str, _: float) -> Condition:
    return lambda listed: listed.record.image_id.startswith(value)


def _digest(value: str, _: float) -> Condition:
    return lambda listed: (
        value
        in (
            listed.record.digest,
            listed.record.digest.partition(":")[2],
        )
    )


def _owner(value: str, _: float) -> Condition:
    uids = {_uid(name) for name in value.split(",")}
    return lambda listed: listed.record.puller in uids


def _uid(name: str) -> int:
    if name == "me":
        return os.getuid()
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError) as error:
        raise FilterError(
            f"no user {name!r} on this machine: check the name, or give its number"
        ) from error


def _label(value: str, _: float) -> Condition:
    name, separator, text = value.partition("=")
    if not separator:
        return lambda listed: name in listed.record.labels
    return lambda listed: listed.record.labels.get(name) == text


def _access(value: str, _: float) -> Condition:
    if value not in ("public", "private"):
        raise FilterError(f"filter 'access={value}': access is public or private")
    return lambda listed: listed.record.is_restricted == (value == "private")


def _older(value: str, now: float) -> Condition:
    limit = _moment("older", value, now, -1)
    return lambda listed: listed.record.last_pull < limit


def _newer(value: str, now: float) -> Condition:
    limit = _moment("newer", value, now, -1)
    return lambda listed: listed.record.last_pull >= limit


def _expires(value: str, now: float) -> Condition:
    limit = _moment("expires", value, now, 1)
    return lambda listed: listed.record.expiration is not None and listed.record.expiration < limit


def _moment(key: str, value: str, now: float, direction: int) -> float:
    """`30d` before or after now, or a day of the calendar here."""
    age = _AGE.fullmatch(value)
    if age is not None:
        return now + direction * int(age[1]) * _SECONDS[age[2]]
    try:
        return datetime.datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise FilterError(
            f"filter '{key}={value}' is no time: write it as {key}=30d (of s, m, h, d, w) or "
            f"{key}=2026-01-31"
        ) from error


_KEYS: dict[str, Callable[[str, float], Condition]] = {
    "access": _access,
    "arch": _architecture,
    "digest": _digest,
    "expires": _expires,
    "format": _format,
    "id": _id,
    "label": _label,
    "name": _name,
    "newer": _newer,
    "older": _older,
    "owner": _owner,
    "tag": _tag,
    "type": _type,
}
