# SPDX-License-Identifier: BSD-3-Clause
"""What `--help` shows: of every program and mode, in the same form and words everywhere."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from shifter_cli.admin import shifter_admin
from shifter_cli.doctor.command import doctor
from shifter_cli.session import Session
from shifter_cli.shifterimg import shifterimg
from shifter_imagegw.command import main as shifter_gateway
from shifter_runtime import usage
from shifter_runtime.job import options as job_options
from shifter_runtime.job.batch import options as batch_options

GROUPS = {
    "shifterimg": shifterimg,
    "shifter-admin": shifter_admin,
    "shifter-gateway": shifter_gateway,
}
TEXTS = {
    "shifter": usage.LONG,
    "setupRoot": job_options.SETUP_USAGE,
    "unsetupRoot": job_options.UNSETUP_USAGE,
    "shifter-prologue": batch_options.PROLOGUE_USAGE,
    "shifter-epilogue": batch_options.EPILOGUE_USAGE,
}

# Options that mean one thing in one mode, and another in the next.
OF_THEIR_OWN = {"--check", "--format", "--from", "--gateway", "--limit", "--older-than", "--sort"}
OF_THEIR_OWN |= {"--dry-run", "--force", "--mine", "--user", "--verbose"}
NO_WORDS = {"TEXT", "INTEGER", "FLOAT", "PATH", "INTEGER RANGE", "FLOAT RANGE", "FILENAME"}


def contexts(command: click.Command, above: click.Context) -> Iterator[click.Context]:
    yield above
    if isinstance(command, click.Group):
        for name in command.list_commands(above):
            inner = command.get_command(above, name)
            assert inner is not None
            yield from contexts(inner, click.Context(inner, info_name=name, parent=above))


ALL = [
    context
    for name, group in GROUPS.items()
    for context in contexts(group, click.Context(group, info_name=name, **group.context_settings))
]
ALL.append(click.Context(doctor, info_name="shifter doctor", **doctor.context_settings))
LEAVES = [context for context in ALL if not isinstance(context.command, click.Group)]

of_each = pytest.mark.parametrize("context", ALL, ids=lambda context: context.command_path)
of_each_leaf = pytest.mark.parametrize("context", LEAVES, ids=lambda context: context.command_path)


def options(context: click.Context) -> list[click.Option]:
    every = context.command.get_params(context)
    return [each for each in every if isinstance(each, click.Option) and not each.hidden]


def help_of(context: click.Context) -> str:
    program, *mode = context.command_path.split()
    words = [*mode, "--help"] if program in GROUPS else ["--help"]
    command = GROUPS.get(program, context.command)
    done = CliRunner().invoke(
        command, words, obj=Session("udiRoot.conf"), prog_name=program, env={"COLUMNS": "80"}
    )
    assert done.exit_code == 0
    return done.stdout


@of_each
def test_help_fits_a_terminal(context):
    assert max(map(len, help_of(context).splitlines())) <= 80


@pytest.mark.parametrize("program", TEXTS)
def test_help_that_is_written_by_hand_fits_a_terminal(program):
    assert max(map(len, TEXTS[program].splitlines())) <= 80


@of_each
def test_h_is_short_for_help(context):
    assert set(context.help_option_names) == {"-h", "--help"}


@of_each
def test_lists_of_commands_cut_no_sentence(context):
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            summary = command.get_command(context, name).get_short_help_str(66)
            assert summary.endswith((".", "?")), name
            assert not summary.endswith("..."), name


@of_each_leaf
def test_each_mode_has_examples(context):
    assert re.search(r"^  Examples?[:,]", help_of(context), re.M)


@pytest.mark.parametrize("program", [name for name in TEXTS if name != "shifter"])
def test_help_that_is_written_by_hand_has_examples_and_statuses(program):
    assert "\nExamples:\n" in TEXTS[program]
    assert re.search(r"^Exit (codes|status):", TEXTS[program], re.M)


@pytest.mark.parametrize("program", GROUPS)
def test_programs_tell_their_exit_statuses(program):
    assert "Exit status: 0" in GROUPS[program].epilog


@of_each
def test_each_option_says_what_it_does_and_names_its_value(context):
    for option in options(context):
        assert option.help, option.name
        assert option.help.endswith((".", "]")), option.name
        if not option.is_flag and not isinstance(option.type, click.Choice):
            assert option.make_metavar(context) not in NO_WORDS, option.name


@of_each
def test_defaults_are_shown(context):
    for option in options(context):
        has_default = option.default is not None and not option.is_flag and not option.multiple
        if has_default and str(option.default) != "Sentinel.UNSET" and option.default != "/":
            assert option.show_default, option.name


@pytest.mark.parametrize("program", GROUPS)
def test_an_option_has_the_same_words_in_every_mode(program):
    words = defaultdict(set)
    for context in ALL:
        if context.command_path.split()[0] == program:
            for option in options(context):
                words[max(option.opts, key=len)].add(option.help)

    assert {name for name, texts in words.items() if len(texts) > 1} <= OF_THEIR_OWN


def test_what_every_program_has_is_worded_the_same():
    shared = ("--json", "--help", "--yes")
    words = {
        (max(option.opts, key=len), option.help)
        for context in ALL
        for option in options(context)
        if max(option.opts, key=len) in shared
    }

    assert sorted(name for name, _ in words) == sorted(shared)


def typed_in(text: str) -> Iterator[tuple[str, ...]]:
    """The commands of ours that a text shows, word by word, without comments beside them."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        for command in re.split(r"\s[|<>&;]+\s|\$\(|; ", line.strip()):
            plain = re.split(r"\s{2,}|\)|<\(", command.strip())[0]
            words = shlex.split(plain) if plain.count("'") % 2 == 0 else []
            if words and words[0] in GROUPS and "MODE" not in words and "COMMAND" not in words:
                yield tuple(words)


@of_each
def test_examples_have_modes_and_options_that_there_are(context):
    for program, *words in typed_in(f"{context.command.help}\n{context.command.epilog}"):
        command: click.Command = GROUPS[program]
        inner = click.Context(command, info_name=program)
        while isinstance(command, click.Group) and words:
            found = command.get_command(inner, words.pop(0))
            assert found is not None
            command, inner = found, click.Context(found, info_name=found.name, parent=inner)
        left = inner.command.make_parser(inner).parse_args(list(words))[1]
        assert not left, words
