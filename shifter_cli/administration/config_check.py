# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin config check`: what a udiRoot.conf means, and what is wrong with it."""

from __future__ import annotations

import dataclasses
from typing import Any

from shifter_cli.errors import SettingsError
from shifter_common import keyvalue
from shifter_runtime import config as configs
from shifter_runtime.config_keys import KEYS, MODULE_KEYS


@dataclasses.dataclass(frozen=True)
class Setting:
    """One line of the file that sets a key, and what the key is for."""

    line: int
    key: str
    value: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything to be said of one file."""

    path: str
    settings: tuple[Setting, ...]
    findings: tuple[configs.Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.is_error for finding in self.findings)

    @property
    def is_good(self) -> bool:
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.path,
            "good": self.is_good,
            "settings": [dataclasses.asdict(setting) for setting in self.settings],
            "findings": [
                {
                    "severity": "error" if finding.is_error else "warning",
                    "line": finding.line or None,
                    "key": finding.key or None,
                    "text": finding.text,
                }
                for finding in self.findings
            ],
        }


def check(path: str) -> Report:
    """Read the file as the runtime does, and look at what it names on this node."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            text = file.read()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    return Report(path, tuple(_settings(text)), tuple(configs.findings(text, path)))


def _settings(text: str) -> list[Setting]:
    return [
        Setting(entry.line, entry.key, entry.value, meaning)
        for entry in keyvalue.entries(text, "=")
        if entry.value is not None and (meaning := _meaning(entry.key))
    ]


def _meaning(key: str) -> str | None:
    if key in KEYS:
        return KEYS[key][-1]
    name, _, part = key.removeprefix(configs.MODULE_PREFIX).partition("_")
    if key.startswith(configs.MODULE_PREFIX) and name and part in MODULE_KEYS:
        return f"module {name}: {MODULE_KEYS[part][-1]}"
    return None
