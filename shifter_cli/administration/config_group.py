# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin config`: what the two configuration files say, and what is wrong in them."""

from __future__ import annotations

import click

from shifter_cli import output
from shifter_cli.administration.options import (
    AdminGroup,
    Settings,
    file_option,
    gateway_config_option,
    json_option,
    require_command,
)
from shifter_cli.administration.screen import show, style, wrapped

_CHECK_EXAMPLES = """\
\b
Examples:
  shifter-admin config check
  shifter-admin config check --file udiRoot.conf.new
  shifter-admin config check --json | jq '.findings'
  shifter-admin config check --gateway

Exit status: 0 when it is good, 1 when launches (or the gateway) would fail.
"""

_SHOW_EXAMPLES = """\
\b
Examples:
  shifter-admin config show
  shifter-admin config show --set                 only what the file says
  shifter-admin config show --json | jq .imagePath
  shifter-admin config show --gateway
"""


@click.group("config", cls=AdminGroup, invoke_without_command=True)
@click.pass_context
def config_group(ctx: click.Context) -> None:
    """The files udiRoot.conf and imagemanager.json."""
    require_command(ctx)


@config_group.command(
    "check", epilog=_CHECK_EXAMPLES, short_help="Say what is wrong with a file, key by key."
)
@click.option("--gateway", is_flag=True, help="imagemanager.json, by shifter-gateway.")
@gateway_config_option
@file_option
@json_option
@click.pass_obj
def check_config(
    settings: Settings, as_json: bool, gateway: bool, gateway_config: str | None
) -> int:
    """Say what each key of udiRoot.conf means, and what is wrong with the file.

    Errors, which launches would fail with, end it with 1. Warnings tell what is ignored or may not
    be meant. As root it sees more: whether root may rely on files that others cannot look at.
    """
    if gateway:
        return _hand_over(settings, gateway_config, "check", as_json=as_json)
    from shifter_cli.administration import config_check

    report = config_check.check(settings.path)
    if as_json:
        output.show_json(report.to_json())
        return int(not report.is_good)
    for setting in report.settings:
        value = output.printable(setting.value)
        show(f"{setting.line:>5}  {style(setting.key, bold=True)} = {value}")
        show(f"       {wrapped(setting.meaning, 7)}")
    for finding in report.findings:
        word = style("error", "red") if finding.is_error else style("warning", "yellow")
        show(f"{word}: {output.printable(str(finding))}")
    warnings = len(report.findings) - report.errors
    verdict = "good" if report.is_good else "not usable"
    counts = f"errors: {report.errors}, warnings: {warnings}"
    show(f"{output.printable(report.path)}: {verdict} ({counts})")
    return int(not report.is_good)


@config_group.command(
    "show", epilog=_SHOW_EXAMPLES, short_help="Show the value of each key, defaults included."
)
@click.option("--set", "only_set", is_flag=True, help="Leave defaults out.")
@click.option("--gateway", is_flag=True, help="imagemanager.json, by shifter-gateway.")
@gateway_config_option
@file_option
@json_option
@click.pass_obj
def show_config(
    settings: Settings, as_json: bool, only_set: bool, gateway: bool, gateway_config: str | None
) -> int:
    """Show the value that each key of udiRoot.conf has, defaults included.

    Lists show what all of their lines add up to. Passwords, which only imagemanager.json may hold,
    are not shown.
    """
    if gateway:
        further = ["--set"] if only_set else []
        return _hand_over(settings, gateway_config, "show", *further, as_json=as_json)
    from shifter_cli.administration import config_values

    values = config_values.effective(settings.path)
    if only_set:
        values = [value for value in values if value.is_set]
    if as_json:
        output.show_json({value.key: value.value for value in values})
        return 0
    for value in values:
        line = f"{style(value.key, bold=value.is_set)} = {output.printable(value.text)}".rstrip()
        note = "(default)" if value.text else "(not set)"
        show(line if value.is_set else f"{line}  {style(note, 'bright_black')}")
    return 0


def _hand_over(
    settings: Settings, gateway_config: str | None, command: str, *further: str, as_json: bool
) -> int:
    from shifter_cli.administration import gateway_program

    program = gateway_program.find(settings.load_if_any(), settings.path, gateway_config)
    arguments = ["config", command, *further, *(["--json"] if as_json else [])]
    return program.hand_over(arguments)
