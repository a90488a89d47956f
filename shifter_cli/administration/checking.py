# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin check`: is all well here, and what to do if not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click

from shifter_cli import output
from shifter_cli.administration import gateway_program, screen
from shifter_cli.administration.options import (
    Settings,
    file_option,
    gateway_config_option,
    json_option,
)
from shifter_cli.administration.screen import show, style
from shifter_cli.checks import Matter, State, skipped, wrong
from shifter_cli.errors import SettingsError
from shifter_common.errors import ShifterError
from shifter_runtime.config import RuntimeConfig

_EXAMPLES = """\
\b
Examples:
  sudo shifter-admin check              all that can be looked at on this host
  shifter-admin check --node            leave a gateway of this host out
  shifter-admin check --gateway         only that
  shifter-admin check --quiet           only what is not well
  shifter-admin check --json | jq '.matters[] | select(.state == "wrong")'

Exit status: 0 when all is well, 1 when something is wrong, 2 when there are
warnings only.
"""

_WARNINGS = 2
_COLOURS = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.WRONG: "red",
    State.SKIPPED: "bright_black",
}
_INDENT = 10
_Matters = Iterator[Matter]


@click.command(epilog=_EXAMPLES, short_help="Is all well here? What to do if not.")
@click.option("--node", is_flag=True, help="Only what launches and users on this node need.")
@click.option("--gateway", is_flag=True, help="Only the gateway that this host runs.")
@click.option("-q", "--quiet", is_flag=True, help="Leave out what is well.")
@gateway_config_option
@file_option
@json_option
@click.pass_obj
def check(
    settings: Settings,
    node: bool,
    gateway: bool,
    quiet: bool,
    gateway_config: str | None,
    as_json: bool,
) -> int:
    """Look at everything that Shifter needs on this host, and say what is wrong and what to do.

    Of a node: udiRoot.conf, the set-uid launcher, the kernel, loop devices, munge, each image
    gateway, the Slurm plugin. Of a host of the gateway, by shifter-gateway: imagemanager.json,
    catalog, Redis, registries, image directories, disks, converters. Nothing is changed. As root
    more can be looked at.
    """
    is_all = node == gateway
    rows: list[dict[str, Any]] = []
    states: Counter[State] = Counter()
    for title, matters in _groups(settings, gateway_config, node=node or is_all, host=not node
                                  or is_all, must_be_host=gateway):  # fmt: skip
        heading = title
        if not (as_json or quiet):  # at once: what is looked at now may take a while
            show(style(title, bold=True))
            heading = ""
        for matter in matters:
            states[matter.state] += 1
            rows.append(matter.to_json(title))
            if as_json or (quiet and matter.state in (State.OK, State.SKIPPED)):
                continue
            if heading:
                show(style(heading, bold=True))
                heading = ""
            show(_line(matter))
    if as_json:
        counts = {state.value: states[state] for state in State}
        output.show_json({"matters": rows, "counts": counts})
    elif not quiet or states[State.WRONG] or states[State.WARNING]:
        show(_verdict(states))
    if states[State.WRONG]:
        return 1
    return _WARNINGS if states[State.WARNING] else 0


def _line(matter: Matter) -> str:
    word = style(f"{matter.state.value:<7}", _COLOURS[matter.state])
    name = matter.name.removeprefix("gateway ")
    # The heading names the file.
    is_named = name == "file" or name in matter.text
    text = matter.text if is_named else f"{name}: {matter.text}"
    return f"  {word} {screen.wrapped(text, _INDENT)}"


def _verdict(states: Counter[State]) -> str:
    counts = ", ".join(f"{states[state]} {state.value}" for state in State if states[state])
    if states[State.WRONG]:
        return style("something is wrong", "red") + f" ({counts})"
    if states[State.WARNING]:
        return style("works, with warnings", "yellow") + f" ({counts})"
    if not states[State.OK]:
        return f"nothing was looked at ({counts})"
    verdict = "all that was looked at is well" if states[State.SKIPPED] else "all is well"
    return style(verdict, "green") + f" ({counts})"


def _groups(
    settings: Settings, gateway_config: str | None, *, node: bool, host: bool, must_be_host: bool
) -> Iterator[tuple[str, _Matters]]:
    """What is looked at, in order; each group is begun when the one before has been shown."""
    if node:
        yield from _node_groups(settings)
    if host:
        try:
            program = gateway_program.find(settings.load_if_any(), settings.path, gateway_config)
        except SettingsError as error:
            make = wrong if must_be_host or gateway_config else skipped
            yield "Gateway of this host", iter([make("gateway", str(error))])
        else:
            if os.access(program.config, os.R_OK):
                yield from _host_groups(program)
                return
            words = f"only root and the gateway's account can read {program.config}: use sudo"
            yield "Gateway of this host", iter([skipped("gateway", words)])


def _node_groups(settings: Settings) -> Iterator[tuple[str, _Matters]]:
    from shifter_cli.checks import gateways, installation, kernel, slurm

    yield "udiRoot.conf", installation.configuration(settings.path)
    try:
        config = settings.load()
    except ShifterError:
        words = "udiRoot.conf cannot be used: what it names was not looked at"
        yield "This node", iter([skipped("node", words)])
        return
    parts: list[tuple[str, Callable[[RuntimeConfig], _Matters]]] = [
        ("Installation", installation.installation),
        ("Kernel", kernel.features),
        ("Loop devices", lambda _: kernel.loop_devices()),
        ("munge", gateways.munge_daemon),
        ("Image gateways", gateways.gateways),
        ("Slurm", slurm.plugin),
    ]
    for title, look in parts:
        yield title, look(config)


def _host_groups(program: gateway_program.GatewayProgram) -> Iterator[tuple[str, _Matters]]:
    title = "Gateway of this host"
    try:
        answer = program.ask(["check", "--json"])
    except ShifterError as error:
        yield title, iter([wrong("gateway", str(error))])
        return
    rows = answer.get("matters") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        yield title, iter([wrong("gateway", f"{program.path} is of another release")])
        return
    groups: dict[str, list[Matter]] = {}
    for row in rows:
        groups.setdefault(str(row.get("group")), []).append(Matter.from_json(row))
    for group, matters in groups.items():
        yield f"{title}: {group}", iter(matters)
