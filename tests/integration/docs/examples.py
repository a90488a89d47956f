# SPDX-License-Identifier: BSD-3-Clause
"""What a page of the documentation has its reader type, and what it says that comes of it.

    ```console alice               typed by alice, on the node where users log in
    ```console alice fails         ... and something in it ends with another status than 0
    ```console root                typed by the administrator there
    ```console unrun: REASON       not tried, because of REASON
    ```console elsewhere: FILE     tried by the tests in FILE
    ```bash file=job.sh            a file that alice has from then on

A line that begins with `$ ` (of root's: `# `) is typed, with the lines below it that begin with
`> `. All others are what is shown then. There, `…` stands for anything, and a line of it alone for
any number of lines; blanks count as one. After a prompt that ends with a colon stands what is typed
next; nothing, where it is a password. The commands of a page are typed in one shell for each user.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"

USERS = ("alice", "bob", "root")

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^ *(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Command:
    """One command as it is typed, with what the page says that it shows."""

    line: int  # of the page
    text: str
    shown: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    language: str
    info: str  # what follows the language
    text: str
    indented: bool

    @property
    def user(self) -> str | None:
        word = self.info.partition(" ")[0]
        return word if word in USERS else None

    @property
    def fails(self) -> bool:
        return self.info.endswith(" fails")

    @property
    def file(self) -> str | None:
        return self.info.removeprefix("file=") if self.info.startswith("file=") else None

    @property
    def reason(self) -> str | None:
        """Why it is not tried at all."""
        return self.info.removeprefix("unrun: ") if self.info.startswith("unrun: ") else None

    @property
    def elsewhere(self) -> str | None:
        mark = "elsewhere: "
        return self.info.removeprefix(mark) if self.info.startswith(mark) else None

    def commands(self) -> Iterator[Command]:
        prompt = "# " if self.text.startswith("# ") else "$ "
        lines = self.text.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(prompt)]
        for start, end in itertools.pairwise([*starts, len(lines)]):
            typed = [lines[start].removeprefix(prompt)]
            after = start + 1
            while after < end and lines[after].startswith("> "):
                typed.append(lines[after].removeprefix("> "))
                after += 1
            yield Command(self.line + 1 + start, "\n".join(typed), tuple(lines[after:end]))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            line=text.count("\n", 0, found.start()) + 1,
            language=found["info"].partition(" ")[0],
            info=found["info"].partition(" ")[2].strip(),
            text=found["body"],
            indented=bool(found["indent"]),
        )
        for found in _FENCE.finditer(text)
    ]


def pages() -> list[Path]:
    """All pages that people write, below docs/."""
    return sorted(
        page
        for page in DOCS.rglob("*.md")
        if page.relative_to(DOCS).parts[0] not in ("generated", "_build")
    )


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS).with_suffix(""))


def pages_to_try() -> list[str]:
    """Names of the pages on which somebody types something."""
    return [name_of(page) for page in pages() if any(block.user for block in blocks(page))]


def is_shown(expected: tuple[str, ...], lines: list[str]) -> bool:
    """Whether what came is what the page says."""
    pattern = "".join(map(_pattern, _without_blank_end(list(expected))))
    text = "".join(f"{line}\n" for line in _without_blank_end(lines))
    return re.fullmatch(pattern, text) is not None


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:[^\n]*\n)*?"
    words = [r"[^\n]*?".join(map(re.escape, word.split("…"))) for word in line.split()]
    return r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n"


def _without_blank_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines
