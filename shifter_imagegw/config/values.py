# SPDX-License-Identifier: BSD-3-Clause
"""Values of imagemanager.json that are more than a number or a text: durations, sizes, URLs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shifter_common.metadata import IMAGE_FORMATS
from shifter_imagegw.config.fields import Fields
from shifter_imagegw.errors import ConfigError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGTP]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_HOST_NAME = r"[a-z0-9_][a-z0-9_.-]*"
_IPV6_ADDRESS = r"[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*"
_SSH_HOST = re.compile(
    rf"{_HOST_NAME}(:[0-9]{{1,5}})?|{_IPV6_ADDRESS}|\[{_IPV6_ADDRESS}\](:[0-9]{{1,5}})?",
    re.IGNORECASE | re.ASCII,
)
_SPACE = re.compile(r"[\s;,\\]")
_ACCOUNT = re.compile(r"[a-z0-9_][a-z0-9_.$-]*", re.IGNORECASE | re.ASCII)


def seconds(fields: Fields, key: str) -> float | None:
    value: Any = fields.optional(key, object)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ConfigError(f"{fields.name(key)} must be a number of seconds, not {value!r}")
    return value


def positive_seconds(fields: Fields, key: str, default: float) -> timedelta:
    value = seconds(fields, key)
    if value == 0:
        raise ConfigError(f"{fields.name(key)} must be more than 0 seconds")
    return timedelta(seconds=default if value is None else value)


def days_to_seconds(fields: Fields, key: str, default: str) -> timedelta:
    """`days:hours:minutes:seconds`."""
    text = fields.take(key, str, default=default)
    parts = text.split(":")
    if len(parts) != 4 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise ConfigError(f"{fields.name(key)} must be 'days:hours:minutes:seconds', not {text!r}")
    days, hours, minutes, seconds_ = map(int, parts)
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds_)


def size(fields: Fields, key: str) -> int | None:
    """Bytes, as a number or as text with a unit of 1024: `512G`, `1.5T`, `200GiB`."""
    value: Any = fields.optional(key, object)
    if value is None:
        return None
    read = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if read is not None:
        found = float(read[1]) * _UNITS[read[2].upper()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    else:
        found = -1
    if not 1 <= found < 2**63:
        raise ConfigError(f"{fields.name(key)} must be a size such as '200G', not {value!r}")
    return int(found)


def count(fields: Fields, key: str) -> int | None:
    value = fields.optional(key, int)
    if value is not None and value < 1:
        raise ConfigError(f"{fields.name(key)} must be 1 or more, not {value}")
    return value


def words(fields: Fields, key: str) -> tuple[str, ...]:
    """Arguments of a program, as a list or as one text."""
    value: Any = fields.optional(key, object)
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ConfigError(f"{fields.name(key)}: {error}: {value!r}") from error
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{fields.name(key)} must be a list of str, not {value!r}")
    return tuple(value)


def words_by_format(fields: Fields, key: str) -> Mapping[str, tuple[str, ...]]:
    section = Fields(fields.name(key), fields.optional(key, dict) or {})
    return {spelled_format(name): words(section, name) for name in section.left()}


def spelled_format(text: str) -> str:
    """An image format as .meta files spell it, however the site does: `VFS`."""
    return next((known for known in IMAGE_FORMATS if known.lower() == text.lower()), text)


def existing_file(fields: Fields, key: str) -> Path | None:
    path = fields.optional_path(key)
    if path is not None and not path.is_file():
        raise ConfigError(f"{fields.name(key)}: there is no file {str(path)!r}")
    return path


def web_url(fields: Fields, key: str) -> str | None:
    """The URL of a page, whose path may be that of a reverse proxy; no slash at its end."""
    text = fields.optional(key, str)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    odd = "@" in parts.netloc or parts.query or parts.fragment or not text.isascii()
    if parts.scheme not in ("http", "https") or not parts.hostname or odd or _SPACE.search(text):
        raise ConfigError(
            f"{fields.name(key)} must be a URL such as https://images.example.org, not {text!r}"
        )
    return text.rstrip("/")


def is_host(text: str) -> bool:
    """Whether `text` can follow `https://`; a login in it would end up in logs."""
    try:
        parts = urlsplit(f"https://{text}")
        _ = parts.port
    except ValueError:
        return False
    odd = "@" in parts.netloc or parts.query or parts.fragment
    return bool(parts.hostname) and not odd and not any(map(str.isspace, text))


def is_ssh_host(text: str) -> bool:
    """Whether `text` is a host that ssh may be given, with or without a port at its end."""
    return bool(_SSH_HOST.fullmatch(text))


def is_account(text: str) -> bool:
    """Whether `text` can be somebody's account on another host."""
    return bool(_ACCOUNT.fullmatch(text))
