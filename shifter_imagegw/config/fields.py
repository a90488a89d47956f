# SPDX-License-Identifier: BSD-3-Clause
"""Typed values out of a JSON object, with complaints that name section and key."""

from __future__ import annotations

import difflib
import enum
import logging
from pathlib import Path
from typing import TypeVar

from shifter_imagegw.errors import ConfigError

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)

_log = logging.getLogger(__name__)


class Fields:
    """The keys of one section, taken one by one; what is left at the end is unknown."""

    def __init__(self, section: str, values: object, *, unused: tuple[str, ...] = ()) -> None:
        self._section = section
        if not isinstance(values, dict):
            raise ConfigError(f"{section or 'the file'} must be a JSON object, not {values!r}")
        self._values = dict(values)
        self._known = set(unused)
        for key in unused:
            self._values.pop(key, None)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def left(self) -> list[str]:
        """The keys that nobody took yet."""
        return list(self._values)

    def name(self, key: str) -> str:
        """The full name of a key, for messages."""
        return f"{self._section}.{key}" if self._section else key

    def take(self, key: str, kind: type[T], *, default: T | None = None) -> T:
        """The value of a key, which must be there unless it has a default."""
        self._known.add(key)
        if key not in self._values:
            if default is None:
                raise ConfigError(f"{self.name(key)} is missing{self._misspelt(key)}")
            return default
        value = self._values.pop(key)
        # A bool is an int to Python, but not to who wrote the file.
        is_bool_by_chance = isinstance(value, bool) and kind not in (bool, object)
        if not isinstance(value, kind) or is_bool_by_chance:
            article = "an" if kind is int else "a"
            raise ConfigError(f"{self.name(key)} must be {article} {kind.__name__}, not {value!r}")
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        self._known.add(key)
        if self._values.get(key) is None:
            self._values.pop(key, None)
            return None
        return self.take(key, kind)

    def secret(self, key: str) -> str | None:
        """A text that may hold a password, so no message shows it."""
        self._known.add(key)
        value = self._values.pop(key, None)
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"{self.name(key)} must be a str")
        return value

    def path(self, key: str) -> Path:
        """A path, made absolute: one that is relative starts at the working directory."""
        text = self.take(key, str)
        if not text or "\0" in text:
            raise ConfigError(f"{self.name(key)} must be a path, not {text!r}")
        return Path(text).absolute()

    def optional_path(self, key: str) -> Path | None:
        text = self.optional(key, str)
        if text is None:
            return None
        self._values[key] = text
        return self.path(key)

    def names(self, key: str, *, nobody: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of user names; one string is one name."""
        if isinstance(self._values.get(key), str):
            name = self.take(key, str)
            return () if not name or name in nobody else (name,)
        names = self.optional(key, list) or []
        for index, name in enumerate(names):
            if not isinstance(name, str):
                raise ConfigError(f"{self.name(key)}[{index}] must be a str, not {name!r}")
        return tuple(names)

    def choose(self, key: str, kind: type[E], *, default: E) -> E:
        """One of the words of an enumeration."""
        word = self.take(key, str, default=default.value)
        for choice in kind:
            if choice.value == word:
                return choice
        known = " or ".join(repr(choice.value) for choice in kind)
        raise ConfigError(f"{self.name(key)} must be {known}, not {word!r}")

    def _misspelt(self, key: str) -> str:
        found = difflib.get_close_matches(key, self._values, n=1, cutoff=0.8)
        return f": is {found[0]!r} meant to be it?" if found else ""

    def warn_of_leftovers(self) -> None:
        for key in self._values:
            where = f"{self._section}: " if self._section else ""
            nearest = difflib.get_close_matches(key, self._known, n=1)
            hint = f", did you mean {nearest[0]!r}?" if nearest else ""
            _log.warning("%sunknown key %r%s", where, key, hint)
