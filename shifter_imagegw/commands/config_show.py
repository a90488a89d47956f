# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway config show`: the value of each key of an imagemanager.json."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from shifter_imagegw import config as configuration
from shifter_imagegw.commands.options import config_option, json_option
from shifter_imagegw.config.keys import KEYS, REQUIRED
from shifter_imagegw.operation.redaction import without_secrets

_ABSENT = object()


@dataclasses.dataclass(frozen=True)
class Value:
    """What a key comes to; `is_set`: the file says so, else `value` is the default, in words."""

    key: str
    value: Any
    is_set: bool

    @property
    def text(self) -> str:
        if isinstance(self.value, str):
            return self.value
        return json.dumps(self.value)


@click.command(short_help="Show the value of each key, defaults included.")
@config_option
@click.option("--set", "only_set", is_flag=True, help="Leave defaults out.")
@json_option
def show(config_path: Path, only_set: bool, as_json: bool) -> None:
    """Show the value that each key of imagemanager.json has, defaults included.

    Passwords are not shown. A file that cannot be used is refused, as it is by the gateway.

    \b
    Examples:
      shifter-gateway config show
      shifter-gateway config show --set --json
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    configuration.load(config_path)
    content = json.loads(config_path.read_text(encoding="utf-8"))
    values = [value for value in effective(content) if value.is_set or not only_set]
    if as_json:
        click.echo(json.dumps({value.key: value.value for value in values}, indent=2))
        return
    is_plain = bool(os.environ.get("NO_COLOR"))
    for value in values:
        if value.is_set:
            name = value.key if is_plain else click.style(value.key, bold=True)
            click.echo(f"{name} = {value.text}")
        else:
            note = "(default)" if is_plain else click.style("(default)", fg="bright_black")
            click.echo(f"{value.key} = {value.text}  {note}")


def effective(content: Mapping[str, Any]) -> Iterator[Value]:
    """Every key in the order of the reference, those of sections once for each name in the file."""
    for key, (_, default, _) in KEYS.items():
        if any(other.startswith(f"{key}.") for other in KEYS):
            continue  # a section: its keys come one by one
        known = default.strip("()").replace("`", "") or "none"
        for name, value in _found(content, key.split("."), ()):
            if value is not _ABSENT:
                yield Value(name, _shown(value), is_set=True)
            elif default != REQUIRED:
                yield Value(name, known, is_set=False)


def _found(value: Any, parts: list[str], walked: tuple[str, ...]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if not parts:
        yield ".".join(walked), value
        return
    part, rest = parts[0], parts[1:]
    if part == "*":
        for name in value if isinstance(value, dict) else ():
            yield from _found(value[name], rest, (*walked, name))
        return
    inner = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    if inner is not _ABSENT and inner is not None:
        yield from _found(inner, rest, (*walked, part))
    elif not rest:
        yield ".".join((*walked, part)), _ABSENT


def _shown(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {name: _shown(item) for name, item in value.items()}
    return value
