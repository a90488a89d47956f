# SPDX-License-Identifier: BSD-3-Clause
"""A root-squashed shared filesystem: a real GlusterFS, its server and client on this machine alone.

A fixture, to be imported by the tests that want it. It is `benchmarks/shared_filesystem.py` that
says how, and it leaves nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import shared_filesystem
from benchmarks.programs import BenchmarkError


@pytest.fixture(scope="session")
def gluster() -> Iterator[Path]:
    """Where it is mounted; `shared_filesystem.fill` puts things there that root may not put."""
    # Not below pytest's directories: users must get there, too.
    work = Path(tempfile.mkdtemp(prefix="shifter-gluster-", dir="/opt"))
    work.chmod(0o755)
    try:
        with shared_filesystem.mounted(work) as place:
            yield place
    except BenchmarkError as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        shutil.rmtree(work, ignore_errors=True)
