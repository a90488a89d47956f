# SPDX-License-Identifier: BSD-3-Clause
"""The manual pages of an installation, as `man` and two formatters understand them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import man_pages

pytestmark = pytest.mark.root

PAGES = list(man_pages.PAGES)


@pytest.fixture(params=PAGES)
def page(request, installation) -> Path:
    return installation.prefix / "share/man" / f"man{request.param[-1]}" / request.param


def run(*words):
    assert shutil.which(words[0]), f"{words[0]} is missing: apt-get install man-db mandoc"
    return subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "HOME": "/"},
    )  # fmt: skip


def test_no_page_has_anything_that_a_formatter_complains_of(page):
    linted = run("mandoc", "-T", "lint", "-W", "warning", str(page))
    shown = run("man", "--warnings", "--local-file", str(page))

    assert (linted.returncode, linted.stdout) == (0, "")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert page.name.rpartition(".")[0] in shown.stdout


def test_pages_are_found_by_their_names(installation):
    found = run("man", "-M", str(installation.prefix / "share/man"), "--where", "udiRoot.conf")

    assert found.stdout.strip().endswith("man5/udiRoot.conf.5")
