# SPDX-License-Identifier: BSD-3-Clause
"""The OpenSSH for containers, built once for a checkout: ./check makes .openssh, tests take it."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".openssh"


@functools.cache
def _problem() -> str:
    done = subprocess.run(
        [ROOT / "tools/build_openssh", "--keep", BUILT],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout


def require() -> Path:
    """The directory that optUdiImage may be a copy of; the test fails where it cannot be built."""
    if _problem():
        pytest.fail(f"tools/build_openssh {BUILT} failed:\n{_problem()}", pytrace=False)
    return BUILT
