# SPDX-License-Identifier: BSD-3-Clause
"""How Sphinx makes the site; `tools/docs` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sphinx.application import Sphinx

from shifter_runtime import VERSION
from tools.manual import commands, rest, sources

project = "Shifter"
author = "The Shifter maintainers"
release = version = VERSION
copyright = "the Shifter maintainers. BSD-3-Clause"  # noqa: A001 - Sphinx's word

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nitpicky = True
smartquotes = False  # --help is no dash

html_theme = "furo"
html_title = f"Shifter {VERSION}"
html_static_path = ["_static"]
html_css_files = ["shifter.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
highlight_language = "text"

_GENERATED = Path(__file__).parent / "generated"


def _write_pages() -> None:
    """What the code and other files of the repository say; git ignores it here."""
    names = commands.write(_GENERATED)
    commands.put(_GENERATED / "rest.md", rest.page())
    for source, target in sources.PAGES.items():
        commands.put(sources.DOCS / target, sources.page(source))
    rows = "".join(f"{name}\n" for name in names)
    commands.put(
        _GENERATED / "commands.md",
        "# Commands\n\nWhat each says when it is asked for `--help`, on one page.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{rows}```\n",
    )


def _lead_links(_: Sphinx, name: str, text: list[str]) -> None:
    if not name.startswith("generated/"):
        text[0] = sources.with_metrics(text[0])
        text[0] = sources.with_links(text[0], f"docs/{name}.md", f"{name}.md")


def setup(app: Sphinx) -> None:
    _write_pages()
    app.connect("source-read", _lead_links)
