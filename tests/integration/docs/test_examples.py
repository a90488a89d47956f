# SPDX-License-Identifier: BSD-3-Clause
"""What the documentation shows is what happens to who types it."""

from __future__ import annotations

import pytest

from tests.integration.docs.examples import DOCS, blocks, is_shown, pages_to_try

pytestmark = pytest.mark.root


@pytest.mark.parametrize("page", pages_to_try())
def test_a_page_shows_what_happens(page, as_new, terminal_of, here, there):
    for block in blocks(DOCS / f"{page}.md"):
        if block.file:
            as_new.write(as_new.home("alice") / block.file, block.text)
        if block.user:
            try_block(page, block, terminal_of(block.user), here, there)


def try_block(page, block, terminal, here, there):
    statuses = []
    commands = list(block.commands())
    for command, following in zip(commands, [*commands[1:], None], strict=True):
        status, lines = terminal.run(here(command.text), command.shown)
        lines = list(map(there, lines))
        if not is_shown(command.shown, lines):
            report = [
                f"docs/{page}.md:{command.line}: $ {command.text}",
                "--- shows, as the page says",
                *command.shown,
                "--- but in truth",
                *lines,
                f"--- and ends with {status}",
            ]
            pytest.fail("\n".join(report), pytrace=False)
        if following is None or following.text != "echo $?":
            statuses.append(status)
    where = f"docs/{page}.md:{block.line} ends with {statuses}"
    assert any(statuses) if block.fails else not any(statuses), where
