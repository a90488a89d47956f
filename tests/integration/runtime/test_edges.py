# SPDX-License-Identifier: BSD-3-Clause
"""The programs of a node, where nobody listens or nothing can be written: words, and a status."""

from __future__ import annotations

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID

pytestmark = pytest.mark.root

REDIRECTIONS = [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1"]
FORBIDDEN = ("Traceback", "a defect of Shifter ended", "Exception ignored", "Errno")

# A program of root's, and words: for each, what a batch system or an administrator may type.
PROGRAMS = ["setupRoot", "unsetupRoot", "shifter-prologue", "shifter-epilogue"]
WORDS = [
    ("--help",),
    ("--version",),
    (),
    ("--nonsense",),
    ("--job=77", "--list"),
    ("--job=77", f"--uid={ALICE}", "--image=id:" + "0" * 64),
    ("--job=77", f"--uid={ALICE}", "id", "0" * 64),
]


def started(program, words, redirection):
    return ("sh", "-c", f'exec "$@" {redirection}', "sh", program, *words)


def problem_of(done, known):
    """What is wrong with how it ended; nothing where it ended as it should."""
    told = done.stdout + done.stderr
    is_known = done.returncode in known and not any(word in told for word in FORBIDDEN)
    return "" if is_known else f"{done.args}: {done.returncode}: {told}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_roots_ends_with_a_known_status(batch, program):
    path = batch.node.prefix / "sbin" / program

    found = [
        problem_of(batch.run(*started(path, words, redirection)), (0, 1, 2))
        for redirection in ("", *REDIRECTIONS)
        for words in WORDS
    ]

    assert not any(found)


@pytest.mark.parametrize("program", [*PROGRAMS, "shifter"])
def test_a_broken_configuration_is_told_in_words(batch, program):
    folder = "bin" if program == "shifter" else "sbin"
    words = ("true",) if program == "shifter" else ("--job=77", f"--uid={ALICE}")
    found = []

    for content in ("", "udiMount", "\0\0=\n", "udiMount=/x\n" * 2, "ü=\xff\n"):
        batch.node.config.write_text(content)
        done = batch.run(batch.node.prefix / folder / program, *words)
        found.append(problem_of(done, (0, 1, 2)))

    assert not any(found)


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--nonsense",), ("--dry-run",), ("-v", "true"), ("/none",)],
    ids=" ".join,
)
def test_a_launch_ends_with_a_known_status(node, words):
    image = () if words[0] in ("--help", "--nonsense") else (f"--image=id:{IMAGE_ID}",)
    found = []

    for redirection in REDIRECTIONS:
        command = started(node.launcher, (*image, *words), redirection)
        done = node.run(*command[1:], image=None, launcher=command[0])
        found.append(problem_of(done, (0, 1, 127)))

    assert not any(found)
