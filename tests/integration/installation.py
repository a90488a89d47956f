# SPDX-License-Identifier: BSD-3-Clause
"""An installation of this checkout below /opt, with a set-uid launcher, gone after the tests."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclasses.dataclass(frozen=True)
class Installation:
    """Where `./install` put things."""

    prefix: Path

    @property
    def sysconfdir(self) -> Path:
        return self.prefix / "etc"

    @property
    def library(self) -> Path:
        return self.prefix / "lib/shifter"

    def program(self, name: str) -> Path:
        return self.prefix / "bin" / name

    def tree(self) -> dict[str, tuple[int, ...]]:
        """Every name below the prefix, with what changes when somebody writes there."""
        return {
            str(path.relative_to(self.prefix)): (
                path.lstat().st_ino,
                path.lstat().st_mode,
                path.lstat().st_uid,
                path.lstat().st_ctime_ns,
            )
            for path in [self.prefix, *self.prefix.rglob("*")]
        }


def run_script(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run one of the checkout's scripts, or something around it, with stdin closed."""
    command = [
        str(ROOT / word) if word in ("install", "quickstart") else str(word) for word in words
    ]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=600, check=False, **options,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.fixture(scope="session")
def script() -> Script:
    return run_script


@pytest.fixture
def unused_prefix() -> Iterator[Path]:
    """A name below /opt that nobody has; what is there afterwards is removed."""
    # Not below pytest's directories: nobody but root may be able to write above what root runs.
    prefix = Path("/opt") / f"shifter-test-{os.getpid()}-{secrets.token_hex(4)}"
    yield prefix
    shutil.rmtree(prefix, ignore_errors=True)


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    prefix = Path("/opt") / f"shifter-test-{os.getpid()}-{secrets.token_hex(4)}"
    done = run_script("install", "--prefix", prefix, "--with-slurm")
    try:
        assert done.returncode == 0, done.stdout
        yield Installation(prefix)
    finally:
        shutil.rmtree(prefix, ignore_errors=True)
