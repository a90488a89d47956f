# SPDX-License-Identifier: BSD-3-Clause
"""Each recorded metadata file, used for real: five runs each, against what the original ran."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).parents[2] / "golden" / "meta"

# Says its arguments and where it is, each with a character behind that no recorded one holds.
SHOW = '#!/bin/sh\nprintf "%s\\037" "$@" "$PWD" shown\n'


def rows() -> dict[str, list[dict[str, str]]]:
    """The recorded runs of each file."""
    lines = (GOLDEN / "table.tsv").read_text().splitlines()
    header, *texts = [line.split("\t") for line in lines if not line.startswith("#")]
    found: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        row = dict(zip(header, text, strict=False))
        found.setdefault(row["meta"], []).append(row)
    return found


REFUSED = (1, [], "")
NO_PROGRAM = (127, [], "")


def ran(*words: str) -> tuple[int, list[str], str]:
    return 0, list(words), "/"


# What ours does otherwise, and why; numbers are of the requirements that the original did not meet.
DIFFERENT = {
    # 23: any entry point and command is carried faithfully, whatever it holds.
    ("aposcmd", "--entrypoint"): ran("don't", "x"),
    ("aposcmd", "-w --entrypoint"): ran("don't", "x"),
    ("aposentry", "--entrypoint"): ran("it's", "x"),
    ("aposentry", "--entrypoint arg1"): ran("it's", "arg1"),
    ("aposentry", "-w --entrypoint"): ran("it's", "x"),
    ("aposentry", "/app/show explicit"): ran("explicit"),
    ("aposentry", "(nothing)"): (0, [], ""),
    ("bothquotes", "--entrypoint"): ran('it\'s "x"'),
    ("bothquotes", "--entrypoint arg1"): ran('it\'s "x"', "arg1"),
    ("bothquotes", "/app/show explicit"): ran("explicit"),
    ("bothquotes", "(nothing)"): (0, [], ""),
    ("escapes", "--entrypoint"): ran("a\\b", "tab\there", "nl\nhere"),
    ("escapes", "--entrypoint arg1"): ran("a\\b", "tab\there", "nl\nhere", "arg1"),
    ("r_json_list", "--entrypoint"): ran("a"),
    ("r_json_list", "--entrypoint arg1"): ran("a", "arg1"),
    # 23: without an entry point, --entrypoint runs the command of the image, or the words given.
    ("cmdonly", "--entrypoint"): ran("x"),
    ("cmdonly", "-w --entrypoint"): ran("x"),
    ("plain", "--entrypoint"): (0, [], ""),
    **{
        (name, "--entrypoint arg1"): NO_PROGRAM
        for name in ("cmdonly", "emptylists", "nulls", "plain", "w_import", "w_minimal")
    },
    # A value of ENV that looks like a line of its own does not set the working directory.
    ("envkey", "-w --entrypoint"): ran(),
    # 9: an access list without ids lets nobody in.
    **{
        (name, command): REFUSED
        for name in ("w_private_empty_lists", "r_acl_empty")
        for command in ("--entrypoint", "--entrypoint arg1", "/app/show explicit", "(nothing)")
    },
}


@pytest.fixture
def container(node):
    """The node of the recording, whose alice has the ids that the access lists name."""

    def make(tree):
        for name in ("app", "data"):
            (tree / name).mkdir(exist_ok=True)
        for name in ("app/show", "bin/show"):
            (tree / name).write_text(SHOW)
            (tree / name).chmod(0o755)

    passwd = node.prefix / "etc/files/passwd"
    before = passwd.read_text()
    passwd.write_text(before.replace(str(ALICE), "1001"))
    node.configure(siteEnvAppend="PATH=/opt/udiImage/bin")
    node.add_image(make)
    yield node
    passwd.write_text(before)


def run(node, row: dict[str, str]) -> tuple[int, list[str], str]:
    """Exit code, arguments and directory of a run like the recorded one; the caller was in `/`."""
    words = [] if row["command"] == "(nothing)" else row["command"].split()
    done = node.run(*words, user=1001, groups=(1002, 1003), env={"PATH": "/usr/bin:/bin"})
    pieces = done.stdout.split("\037")
    if pieces[-2:] != ["shown", ""]:
        return done.returncode, [], ""
    *words, cwd = pieces[:-2]
    return done.returncode, words, cwd


def expected(row: dict[str, str]) -> tuple[int, list[str], str]:
    code = {"134": 1}.get(row["exit"], int(row["exit"]))  # a refusal, which crashed the original
    argv = json.loads(row["argv"]) if row.get("argv") else []
    cwd = row.get("cwd", "").replace("/home/alice", "/")
    return code, argv, cwd


def test_each_recorded_file_runs_what_it_ran(container):
    meta = container.images / f"{IMAGE_ID}.meta"
    found, recorded = {}, {}
    for name, runs in rows().items():
        meta.write_bytes((GOLDEN / f"{name}.meta").read_bytes())
        for row in runs:
            recorded[name, row["command"]] = expected(row)
            found[name, row["command"]] = run(container, row)

    assert len(recorded) == 300
    assert found == recorded | DIFFERENT
