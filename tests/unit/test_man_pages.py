# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages say all that the programs say of themselves; a table of texts adds the rest."""

from __future__ import annotations

import re

import click
import pytest

from shifter_cli.admin import shifter_admin
from shifter_cli.shifterimg import shifterimg
from shifter_imagegw.command import main as shifter_gateway
from shifter_imagegw.config import keys as gateway_keys
from shifter_runtime import request
from shifter_runtime.config_keys import KEYS, MODULE_KEYS
from tools import man_pages, man_texts, troff

GROUPS = {
    "shifterimg.1": shifterimg,
    "shifter-admin.8": shifter_admin,
    "shifter-gateway.8": shifter_gateway,
}


def text_of(name):
    """What a reader sees of a page, without its markup."""
    source = man_pages.page(name)
    return re.sub(r"\\f[BR]|\\&", "", source).replace("\\-", "-").replace("\\e", "\\")


def commands(group, context):
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inside = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from commands(command, inside)
        else:
            yield command, inside


@pytest.mark.parametrize("name", GROUPS)
def test_every_command_and_option_is_on_the_page(name):
    shown = " ".join(text_of(name).split())

    for command, context in commands(GROUPS[name], click.Context(GROUPS[name], info_name="x")):
        assert f'.SS "{context.command_path.partition(" ")[2]}' in shown
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert max(option.opts, key=len) in shown


@pytest.mark.parametrize("page", man_pages.PAGES)
def test_every_page_has_the_sections_that_readers_look_for(page):
    titles = re.findall(r'^\.SH "?([^"\n]*)', man_pages.page(page), re.M)

    wanted = {"NAME", "DESCRIPTION", "EXAMPLES", "FILES", "SEE ALSO"}
    if not page.endswith(".5"):
        wanted |= {"SYNOPSIS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT"}
    if page.startswith(("shifter.", "shifter-gateway", "shifter-admin")):
        wanted -= {"EXAMPLES", "OPTIONS"}  # they stand where they belong to
    assert wanted <= set(titles)
    assert len(titles) == len(set(titles))


def test_every_option_of_shifter_is_on_its_page():
    shown = text_of("shifter.1")

    assert all(f"--{option}" in shown for option in (*request.LONG_OPTIONS, *request.ADDED_OPTIONS)
               if option not in ("entry", "modules"))  # fmt: skip


def test_every_key_of_both_files_is_on_its_page():
    runtime, gateway = text_of("udiRoot.conf.5"), text_of("imagemanager.json.5")

    assert all(f"\n{key} = " in runtime for key in KEYS)
    assert all(f"\nmodule_NAME_{part} = " in runtime for part in MODULE_KEYS)
    assert all(f"\n{key}\n" in gateway for key in gateway_keys.KEYS)


def test_pages_name_the_files_of_their_installation():
    assert "/site/etc/udiRoot.conf" in man_pages.page("shifter.1", "/site/etc")
    assert "@" not in re.sub(r"\S@\S|python@", "", man_pages.page("udiRoot.conf.5"))


def test_the_same_moment_gives_the_same_page(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")

    assert '"1970-01-02"' in man_pages.page("shifter.1")


def test_every_page_has_a_summary_and_an_end():
    assert set(man_pages.PAGES) == set(man_texts.SUMMARIES) == set(man_texts.ENDS)


def test_no_text_is_taken_for_an_order():
    page = troff.Page("x", 1, "y", date="1970-01-01", source="z")

    page.paragraph(".so /etc/passwd and 'nothing \\fBelse `-v`")
    page.literal([".", "'", "a\\b"])

    assert page.text().split("\n")[5:-1] == [
        ".PP", "\\&.so /etc/passwd and 'nothing \\efBelse \\fB\\-v\\fR",
        ".PP", ".EX", "\\&.", "\\&'", "a\\eb", ".EE",
    ]  # fmt: skip
