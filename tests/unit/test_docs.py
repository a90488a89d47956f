# SPDX-License-Identifier: BSD-3-Clause
"""What pages of the documentation promise without anybody typing it."""

from __future__ import annotations

import itertools
import re

import click
import pytest

from shifter_imagegw.config import keys as gateway_keys
from shifter_runtime import config_keys
from tests.integration.docs.examples import ROOT, blocks, is_shown, name_of, pages, pages_to_try
from tools.manual import commands, sources

PAGES = {name_of(page): page for page in pages()}
ALL_BLOCKS = [(name, block) for name, page in PAGES.items() for block in blocks(page)]
NOT_TRIED = [(name, block) for name, block in ALL_BLOCKS if block.reason]

WIDTH = 80  # of a terminal

# Holds messages, word by word, in which a program's name may be followed by any.
MESSAGES = "errors"


def test_nearly_all_examples_are_tried():
    tried = sum(len(list(block.commands())) for _, block in ALL_BLOCKS if block.user)
    untried = sum(len(list(block.commands())) for _, block in NOT_TRIED)

    elsewhere = sum(len(list(block.commands())) for _, block in ALL_BLOCKS if block.elsewhere)

    assert untried <= tried / 20
    assert elsewhere <= tried / 4


@pytest.mark.parametrize(
    ("page", "block"), NOT_TRIED, ids=[f"{name}:{block.line}" for name, block in NOT_TRIED]
)
def test_an_example_that_is_not_tried_says_why(page, block):
    assert len(block.reason) > 10, page


@pytest.mark.parametrize("page", PAGES)
def test_where_something_is_typed_it_is_said_who_types_it(page):
    for block in blocks(PAGES[page]):
        if block.language == "console":
            assert block.user or block.reason or block.elsewhere, f"{page}:{block.line}"
            assert not block.indented
            assert list(block.commands()), f"{page}:{block.line}: nothing is typed"
            assert (block.user == "root") == block.text.startswith("# ") or not block.user
        else:
            typed = re.search(r"^[$#] [a-z./]", block.text, re.MULTILINE)
            assert not (typed and block.language == ""), f"{page}:{block.line}: no console"
        if block.elsewhere:
            assert (ROOT / block.elsewhere).is_file()


@pytest.mark.parametrize("page", pages_to_try())
def test_examples_fit_a_terminal(page):
    wide = [
        f"{page}:{block.line}: {line}"
        for block in blocks(PAGES[page])
        if block.user
        for line in block.text.splitlines()
        if len(line) > WIDTH
    ]

    assert wide == []


def test_every_page_is_in_the_contents():
    text = PAGES["index"].read_text() + "".join(page.read_text() for page in PAGES.values())
    contents = "".join(re.findall(r"(?s)```{toctree}\n.*?```", text))

    assert [name for name in PAGES if name.rpartition("/")[2] not in contents] == []


def modes_of(group, context):
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield name
        if isinstance(command, click.Group):
            yield from (f"{name} {mode}" for mode in modes_of(command, context))


@pytest.mark.parametrize("program", commands.GROUPS)
@pytest.mark.parametrize("page", [name for name in PAGES if name != MESSAGES])
def test_every_mode_that_a_page_names_exists(page, program):
    group, _ = commands.GROUPS[program]
    known = set(modes_of(group, click.Context(group, info_name=program)))

    for words in named(PAGES[page].read_text(), program):
        plain = list(itertools.takewhile(lambda word: re.fullmatch(r"[a-z]+", word), words))
        if plain:
            assert plain[0] in known, f"{program} {' '.join(words)}"
            inner = [mode for mode in known if mode.startswith(f"{plain[0]} ")]
            if inner and len(plain) > 1:
                assert " ".join(plain[:2]) in known, f"{program} {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_shifter_that_a_page_names_exists(page):
    known = set(re.findall(r"(?<![\w-])--?[\w-]+", commands.TEXTS["shifter"][0]))
    known |= {"-it", "-t", "-i"}

    for words in named(PAGES[page].read_text(), "shifter"):
        options = itertools.takewhile(lambda word: word.startswith("-") and word != "--", words)
        unknown = {re.match(r"--[\w-]+|-\w", option)[0] for option in options} - known
        assert unknown <= {"-o"}, f"shifter {' '.join(words)}"


KNOWN_KEYS = {*config_keys.KEYS, *gateway_keys.KEYS}
KNOWN_KEYS |= {key.rpartition(".")[2] for key in gateway_keys.KEYS}
KNOWN_KEYS |= {f"module_<name>_{part}" for part in config_keys.MODULE_KEYS}

# Words like keys that are none.
NO_KEYS = {"SlurmdSpoolDir", "module_<name>_…"}


@pytest.mark.parametrize("page", [name for name in PAGES if name.startswith("migration/")])
def test_every_key_that_stands_for_another_tool_s_exists(page):
    rows = re.findall(r"(?m)^\| .* \| (.*) \|$", PAGES[page].read_text())
    words = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}

    keys = {word for word in words if re.fullmatch(r"module_\S+|[a-z]+([A-Z][a-z]*)+", word)}
    keys |= {word for word in words if re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]+)+", word)}

    assert keys - NO_KEYS <= KNOWN_KEYS


def named(text, program):
    """What follows the name of a program in code of a page, word by word."""
    for code in re.findall(r"`([^`\n]+)`", text) + [block.text for block in _blocks_of(text)]:
        for found in re.finditer(
            rf"(?:^|[\s;|(])(?<!-o )(?<!-g )(?<!-u ){program} ([^\n;|)`]*)", code
        ):
            yield found[1].split()


def _blocks_of(text):
    for found in re.finditer(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield type("Block", (), {"text": found[1]})


# The page's own words


@pytest.mark.parametrize(
    ("expected", "lines"),
    [
        ((), []),
        (("one  two",), ["one two", ""]),
        (("id …9e",), ["id 5f4c009e"]),
        (("…", "last"), ["first", "second", "last"]),
        (("first", "…"), ["first"]),
    ],
)
def test_what_is_shown_is_compared_loosely(expected, lines):
    assert is_shown(expected, lines)


@pytest.mark.parametrize(
    ("expected", "lines"),
    [
        ((), ["something"]),
        (("one",), []),
        (("one",), ["one more"]),
        (("one", "two"), ["two", "one"]),
        (("… x",), ["a\n", "x"]),
    ],
)
def test_what_is_not_shown_is_noticed(expected, lines):
    assert not is_shown(expected, lines)


def test_links_of_the_repository_lead_to_pages_of_the_site():
    text = "[a](../../etc/README.md#k) [b](../batch.md) [c](../../SECURITY.md) [d](../../etc/slurm)"
    more = "[e](#f) [g](https://example.org) ![h](../launch.svg) [i](../../docker/compose.yaml)"

    assert sources.with_links(f"{text} {more}", "docs/guide/x.md", "guide/x.md") == (
        "[a](../generated/configuration.md#k) [b](../batch.md) [c](../generated/security.md) d "
        "[e](#f) [g](https://example.org) ![h](../launch.svg) [i](../../docker/compose.yaml)"
    )
