# SPDX-License-Identifier: BSD-3-Clause
"""The site that `tools/docs` builds: whole, with links that lead somewhere, and on its own."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tests.integration.docs.examples import DOCS, ROOT, name_of, pages

# What a browser fetches by itself when it shows a page.
FETCHED = {
    ("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"),
    ("object", "data"), ("embed", "src"), ("video", "src"), ("audio", "src"),
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What the one command makes that readers are told of."""
    target = tmp_path_factory.mktemp("site") / "html"
    done = run(ROOT / "tools/docs", target)
    assert done.returncode == 0, done.stdout + (ROOT / "build/docs.log").read_text()
    assert done.stdout.endswith(f"begin with {target}/index.html\n")
    return target


def run(*words):
    return subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )


def test_every_page_is_there(site):
    for page in pages():
        assert (site / name_of(page)).with_suffix(".html").is_file()


@pytest.mark.parametrize(
    "command", ["shifter", "shifterimg", "shifter-admin", "shifter-gateway", "setupRoot"]
)
def test_every_command_has_a_page_of_what_it_says_of_itself(site, command):
    assert f"<h1>{command}<" in (site / f"generated/{command}.html").read_text()


def test_no_page_loads_anything_from_elsewhere(site):
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            for name, value in attributes:
                if (tag, name) in FETCHED and re.match(r"(https?:)?//", value or ""):
                    found.append((path.name, value))

    for path in site.rglob("*.html"):
        Reader().feed(path.read_text())
    for path in site.rglob("*.css"):
        found += re.findall(
            r"url\([\"']?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*", path.read_text()
        )
    assert found == []


def test_words_of_pages_are_found_by_the_search(site):
    index = (site / "searchindex.js").read_text()

    assert "perNodeCache".lower() in index
    assert "generated/shifterimg" in index


def test_links_that_lead_nowhere_fail_the_build(tmp_path):
    links = ["[x](no-page.md)", "[x](page.md#no-anchor)", "![x](no-picture.png)", "[x](#no-here)"]
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text("# Start\n\n```{toctree}\npage\n```\n")
    (source / "page.md").write_text("# Page\n\n" + "\n\n".join(links) + "\n")

    done = run(
        sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--nitpicky",
        "--quiet", "--conf-dir", DOCS, source, tmp_path / "html",
    )  # fmt: skip

    assert done.returncode != 0
    for name in ("no-page", "no-anchor", "no-picture", "no-here"):
        assert name in done.stdout
