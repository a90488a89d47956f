# SPDX-License-Identifier: BSD-3-Clause
"""The values that the keys of a udiRoot.conf come to, defaults included."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from shifter_cli.errors import SettingsError
from shifter_common import keyvalue
from shifter_runtime import config as configs
from shifter_runtime.config_keys import KEYS

_HIDDEN = "********"
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET_VARIABLE = re.compile(r"(?i)\b(\w*(?:password|passwd|secret|token|credential)\w*)=\S+")


@dataclasses.dataclass(frozen=True)
class Value:
    """What a key comes to; `is_set`: the file says so."""

    key: str
    value: Any
    is_set: bool

    @property
    def text(self) -> str:
        if isinstance(self.value, list):
            return " ".join(map(str, self.value))
        if isinstance(self.value, bool):
            return str(int(self.value))
        if isinstance(self.value, float):
            return f"{self.value:g}"
        return "" if self.value is None else str(self.value)


def effective(path: str) -> list[Value]:
    """In the order of the reference; modules come last. What cannot be understood is refused."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            text = file.read()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    config = configs.parse(text, path)
    given = {entry.key for entry in keyvalue.entries(text, "=") if entry.value is not None}
    values = [
        Value(key, _shown(getattr(config, attribute)), key in given)
        for key, (attribute, *_) in KEYS.items()
    ]
    for name, parts in config.modules.items():
        values += [
            Value(f"{configs.MODULE_PREFIX}{name}_{part}", _shown(found), is_set=True)
            for part, found in parts.items()
        ]
    return values


def _shown(value: object) -> Any:  # noqa: ANN401
    """A value without what a site would not want on a screen."""
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    if isinstance(value, str):
        return _SECRET_VARIABLE.sub(rf"\1={_HIDDEN}", _URL_LOGIN.sub(_HIDDEN, value))
    return value
