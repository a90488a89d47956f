# SPDX-License-Identifier: BSD-3-Clause
"""Reference pages of the commands, from what each says when it is asked for help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from shifter_cli.admin import shifter_admin
from shifter_cli.shifterimg import shifterimg
from shifter_imagegw.command import main as shifter_gateway
from shifter_runtime import usage
from shifter_runtime.job import options as job_options
from shifter_runtime.job.batch import options as batch_options

# What is written with click, and how its pages begin.
GROUPS: dict[str, tuple[click.Group, str]] = {
    "shifterimg": (shifterimg, "For users: fetches images, lists them, shares and removes them."),
    "shifter-admin": (shifter_admin, "For administrators: looks after nodes and the gateway."),
    "shifter-gateway": (shifter_gateway, "For administrators: is the gateway, on its host."),
}

# What parses its words by hand, because root runs it.
TEXTS: dict[str, tuple[str, str]] = {
    "shifter": (usage.LONG, "For users: runs a program in an image."),
    "setupRoot": (
        job_options.SETUP_USAGE,
        "For root, in a batch system's prolog: makes a job's container.",
    ),
    "unsetupRoot": (
        job_options.UNSETUP_USAGE,
        "For root, in an epilog: takes a job's container down.",
    ),
    "shifter-prologue": (
        batch_options.PROLOGUE_USAGE,
        "For root: `setupRoot` in the words of Torque, PBS, Grid Engine and LSF.",
    ),
    "shifter-epilogue": (batch_options.EPILOGUE_USAGE, "For root: ends what the former made."),
}

_WIDTH = 80


def pages() -> Iterator[tuple[str, str]]:
    """Name and Markdown of each page, in the order of the site."""
    for name in ("shifter", "shifterimg", "shifter-admin", "shifter-gateway"):
        if name in TEXTS:
            yield name, _page_of_text(name, *TEXTS[name])
        else:
            yield name, _page_of_group(name, *GROUPS[name])
    for name in ("setupRoot", "unsetupRoot", "shifter-prologue", "shifter-epilogue"):
        yield name, _page_of_text(name, *TEXTS[name])


def _page_of_text(name: str, text: str, purpose: str) -> str:
    return f"# {name}\n\n{purpose}\n\n{_block(text)}\n"


def _page_of_group(name: str, group: click.Group, purpose: str) -> str:
    context = click.Context(group, info_name=name, max_content_width=_WIDTH)
    parts = [f"# {name}\n\n{purpose}\n", _described(group, context)]
    parts += [_section(context, command) for command in _commands(context, group)]
    return "\n".join(parts)


def _commands(context: click.Context, group: click.Group) -> Iterator[click.Context]:
    """The contexts of a group's commands, and of theirs."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context, max_content_width=_WIDTH)
        if isinstance(command, click.Group):
            yield from _commands(below, command)
        else:
            yield below


def _section(_: click.Context, context: click.Context) -> str:
    return f"## {context.command_path}\n\n{_described(context.command, context)}"


def _described(command: click.Command, context: click.Context) -> str:
    words = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [_block(words), _prose(command.help or "")]
    rows = [
        record
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
        and record[1]
        and parameter.name != "help"
    ]
    if rows:
        parts.append(
            "| option | |\n| --- | --- |\n"
            + "".join(f"| `{_cell(flags)}` | {_cell(text)} |\n" for flags, text in rows)
        )
    if command.epilog:
        parts.append(_prose(command.epilog))
    return "\n".join(parts)


def _prose(text: str) -> str:
    """Help as click lays it out: paragraphs, and (after `\\b`) lines that stay as they are."""
    made = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if paragraph.startswith("\b"):
            lines = paragraph.split("\n")[1:]
            if lines and re.fullmatch(r"\w[\w ]*:", lines[0]):
                made.append(f"{lines.pop(0)}\n")
            made.append(_block(inspect.cleandoc("\n".join(lines))))
        elif paragraph:
            made.append(f"{_escaped(paragraph)}\n")
    return "\n".join(made)


def _escaped(text: str) -> str:
    """Words that Markdown takes for marks; what stands between `` ` `` stays."""
    parts = text.split("`")
    return "`".join(
        re.sub(r"([\\*_<>\[\]#|~$])", r"\\\1", part) if index % 2 == 0 else part
        for index, part in enumerate(parts)
    )


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("|", "\\|")).replace("<", "&lt;").strip()


def _block(text: str) -> str:
    return f"```text\n{text.strip(chr(10))}\n```\n"


def write(directory: Path) -> list[str]:
    """Write all pages there; their names."""
    names = []
    for name, text in pages():
        names.append(name)
        put(directory / f"{name}.md", text)
    return names


def put(path: Path, text: str) -> None:
    """Write a file, unless it says so already: what depends on it is then not made anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
