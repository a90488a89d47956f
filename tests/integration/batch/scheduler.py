# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for a batch system: runs programs with the words and surroundings that one gives."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.runtime.batch import BatchNode

_Done = subprocess.CompletedProcess[str]


class Scheduler:
    """Starts and ends jobs on one node."""

    def __init__(self, batch: BatchNode) -> None:
        self.batch = batch
        self.prefix = batch.node.prefix
        self.examples = self.prefix / "etc/batch"

    def prologue(self, *words: str, **options: object) -> _Done:
        return self.batch.run(self.prefix / "sbin/shifter-prologue", *words, **options)

    def epilogue(self, *words: str, **options: object) -> _Done:
        return self.batch.run(self.prefix / "sbin/shifter-epilogue", *words, **options)

    def lines_of(self, example: str) -> dict[str, str]:
        """The settings of an example file as it was installed: `name value` or `name = value`."""
        lines = (self.examples / example).read_text().splitlines()
        pairs = [line.split(maxsplit=1) for line in lines if line and line[0] != "#"]
        return {name: value.removeprefix("= ") for name, value in pairs}

    def adapt(self, example: str, old: str, new: object, place: Path) -> Path:
        """A program as an administrator puts it in place, with a path changed."""
        text = (self.examples / example).read_text()
        assert old in text
        program = place / Path(example).name
        program.write_text(text.replace(old, str(new)))
        program.chmod(0o500)
        return program
