# SPDX-License-Identifier: BSD-3-Clause
"""A launch finds its modules in one file, and does without it where that is not for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shifter_runtime import bundle

ROOT = Path(__file__).parents[3]
SOURCES = {
    "shifter_runtime/__init__.py": "",
    "shifter_runtime/bundle.py": (ROOT / "shifter_runtime/bundle.py").read_text(),
    "room/__init__.py": "WHERE = 'package'\n",
    "room/noun.py": "from room import WHERE\n\ndef name():\n    return __name__ + ' in ' + WHERE\n",
}
ASKING = """
import sys
sys.path.insert(0, sys.argv[1])
from shifter_runtime import bundle
bundle.use(sys.argv[1])
from room import noun
print(noun.name(), noun.name.__code__.co_filename, type(noun.__loader__).__name__)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    bundle.make(str(tmp_path), list(SOURCES), "/opt/shifter/lib/shifter")
    return tmp_path


def ask(tree: Path) -> str:
    command = [sys.executable, "-I", "-S", "-B", "-c", ASKING, tree]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_modules_come_from_the_bundle_and_not_from_files_beside_it(tree):
    for name in ("room/__init__.py", "room/noun.py"):
        (tree / name).write_text("raise SystemExit('found in a file')\n")

    assert ask(tree) == "room.noun in package /opt/shifter/lib/shifter/room/noun.py _Finder"


def test_modules_are_found_as_usual_without_a_bundle(tree):
    (tree / bundle.NAME).unlink()

    assert ask(tree) == f"room.noun in package {tree}/room/noun.py SourceFileLoader"


def test_a_bundle_of_another_interpreter_is_left_alone(tree):
    content = (tree / bundle.NAME).read_bytes()
    (tree / bundle.NAME).write_bytes(b"\0\0\r\n" + content[4:])

    assert ask(tree) == f"room.noun in package {tree}/room/noun.py SourceFileLoader"
