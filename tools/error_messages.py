# SPDX-License-Identifier: BSD-3-Clause
"""What docs/errors.md lacks, and what is on it that no program says any more.

    python3 tools/error_messages.py              a line for each, 1 if there is any
    python3 tools/error_messages.py --where 'cannot read …: …'    where that is in the code

The page has the messages as lines of lists, in code, with `…` for what is known only when it is
said: a name, a number, the system's words. Below each list stands what they mean and what to do.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import messages_in_c, messages_in_python  # noqa: E402

PAGE = ROOT / "docs/errors.md"
PACKAGES = ("shifter_common", "shifter_runtime", "shifter_imagegw", "shifter_cli")
C_FOLDERS = ("shifter_runtime/launcher", "slurm_spank")
_ENTRY = re.compile(r"^- (`+)(.+)\1$", re.MULTILINE)

# Pieces that stand inside messages that are on the page, or are no messages.
PIECES = {
    "an error text",
}


@functools.cache
def said() -> dict[str, set[str]]:
    """Every message, and the places where it is made."""
    found = messages_in_python.messages(ROOT, PACKAGES)
    for text, places in messages_in_c.messages(ROOT, C_FOLDERS).items():
        found.setdefault(text, set()).update(places)
    return {text: places for text, places in found.items() if text not in PIECES}


def listed(page: str) -> list[str]:
    """The messages on the page, in its order."""
    return [match[2] for match in _ENTRY.finditer(page)]


def entry(text: str) -> str:
    """The line of the page for a message."""
    fence = "``" if "`" in text else "`"
    return f"- {fence}{text}{fence}"


def main(arguments: list[str]) -> int:
    found = said()
    if arguments[:1] == ["--where"]:
        wanted = [text for text in found if all(word in text for word in arguments[1:])]
        for text in wanted:
            print(entry(text), *sorted(found[text]), sep="\n    ")
        return int(not wanted)
    known = set(listed(PAGE.read_text()))
    missing = sorted(set(found) - known, key=lambda text: min(found[text]))
    for text in missing:
        print(f"missing, said at {min(found[text])}:\n{entry(text)}")
    stale = sorted(known - set(found))
    for text in stale:
        print(f"said nowhere:\n{entry(text)}")
    return int(bool(missing or stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
