# SPDX-License-Identifier: BSD-3-Clause
"""Markdown of the repository as pages of the site: its links lead to pages where there are some."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from shifter_imagegw.operation.metrics import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

# Files outside of docs/ that are pages, too, and those that stand for another.
PAGES = {
    "SECURITY.md": "generated/security.md",
    "CONTRIBUTING.md": "generated/contributing.md",
    "CHANGELOG.md": "generated/changelog.md",
    "etc/README.md": "generated/configuration.md",
    "benchmarks/README.md": "generated/benchmarks.md",
}
_INSTEAD = {"README.md": "index.md"}

# A page may have this where the table of metrics is to be.
_METRICS = "<!-- metrics -->\n"

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def page(name: str) -> str:
    """The text of a file of the repository, as the page that it becomes."""
    return with_links((ROOT / name).read_text(), name, PAGES[name])


def with_metrics(text: str) -> str:
    """A page with the table of metrics, if it has a place for it."""
    rows = "".join(f"| `{name}` | {kind} | {text} |\n" for name, (kind, text) in FAMILIES.items())
    return text.replace(_METRICS, f"| metric | kind | |\n| --- | --- | --- |\n{rows}")


def with_links(text: str, name: str, target: str) -> str:
    """Markdown of the file `name`, its links as the page `target` (below docs/) has to have them.

    A link to what is no page, a directory say, becomes its text.
    """
    here = PurePosixPath(name).parent
    there = PurePosixPath(target).parent

    def replaced(found: re.Match[str]) -> str:
        words, link = found[1], found[2]
        if re.match(r"[a-z]+:|#|/", link):
            return found[0]
        path, hash_mark, anchor = link.partition("#")
        source = os.path.normpath(here / path)
        wanted = PAGES.get(source) or _INSTEAD.get(source)
        if wanted is None and source.startswith("docs/"):
            wanted = source.removeprefix("docs/")
        if wanted is not None:
            return f"[{words}]({os.path.relpath(wanted, there)}{hash_mark}{anchor})"
        if (ROOT / source).is_file():  # a copy of it goes with the site
            return f"[{words}]({os.path.relpath(ROOT / source, DOCS / there)})"
        return words if (ROOT / source).is_dir() else found[0]

    return _LINK.sub(replaced, text)
