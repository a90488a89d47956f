# SPDX-License-Identifier: BSD-3-Clause
"""JSON of a foreign server, read strictly: one meaning, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shifter_imagegw.registry.errors import RegistryError, cleaned

Document = Mapping[str, Any]

_MOST_PARTS = 200_000  # members and elements; each takes up to 300 bytes of memory
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def load(data: bytes, what: str) -> Document:
    """The JSON object in `data`; `what` names it in errors.

    A repeated key is refused: which of the two counts is up to each reader, so that a signature
    or a scanner may have seen another image than the one that is run.
    """
    if sum(data.count(mark) for mark in b",[{") > _MOST_PARTS:
        raise RegistryError(f"{what} is refused: it has more than {_MOST_PARTS} parts")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
        if _SURROGATE_ESCAPE.search(data):
            # Half a surrogate pair is text to json, but can be written nowhere later.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _DuplicateKeyError as error:
        raise RegistryError(f"{what} is refused: {error}") from None
    except (ValueError, RecursionError):
        raise RegistryError(f"{what} is no JSON that can be read") from None
    if not isinstance(value, dict):
        raise RegistryError(f"{what} is no JSON object")
    return value


class _DuplicateKeyError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(f"its key {cleaned(key, 60)!r} is there twice")
            seen.add(key)
    return members
