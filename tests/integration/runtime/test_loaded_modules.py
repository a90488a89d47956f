# SPDX-License-Identifier: BSD-3-Clause
"""Which modules root has loaded when the user's program starts: these, and no others.

Each costs every rank of every job its share of a millisecond, and is code that root trusts. Who
adds one to a list has measured it, and says in the commit what it is worth.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

# `defects` is for the last resort, which may come when the image is the root: then nothing may be
# looked for any more.
COMMON = {
    f"shifter_common.{name}" for name in ("defects", "errors", "keyvalue", "metadata", "reference")
}
ALWAYS = {
    *("shifter_common", *COMMON),
    *("shifter_runtime", "shifter_runtime.bundle"),
    *("shifter_runtime.job", "shifter_runtime.job.joining"),
    *(f"shifter_runtime.{name}" for name in ("config", "config_keys", "environment", "errors")),
    *(f"shifter_runtime.{name}" for name in ("identity", "image", "lookup", "main", "node")),
    *(f"shifter_runtime.{name}" for name in ("process", "request", "syscalls", "trust")),
    *(f"shifter_runtime.{name}" for name in ("udi_config", "volumes")),
}
BUILDING = {
    *(f"shifter_runtime.{name}" for name in ("etc_files", "loop", "namespace", "plan", "udi")),
    *("shifter_runtime.operations", "shifter_runtime.operations.root"),
    "shifter_runtime.operations.tree",
}
JOINING = {"shifter_runtime.job.record"}
# Of the interpreter's own, beside what it has loaded before us.
INTERPRETERS = {
    *("__future__", "_collections_abc", "_ctypes", "_stat", "errno", "gc", "genericpath", "grp"),
    *("os", "os.path", "posixpath", "pwd", "stat"),
}

# Put before the first line of what the launcher executes.
_TELL = """\
import sys


def tell(event, _):
    if event == "os.exec":
        print(*sys.modules, file=sys.stderr)


sys.addaudithook(tell)
"""


@pytest.fixture
def telling(node) -> Iterator[None]:
    """The installation, changed to say at the exec of a program what is loaded."""
    entry: Path = node.prefix / "lib/shifter/shifter_runtime/entry.py"
    text = entry.read_text()
    entry.write_text(_TELL + text.replace("from __future__ import annotations\n", ""))
    yield
    entry.write_text(text)


def test_a_plain_launch_loads_these_and_nothing_else(node, telling):
    assert loaded(node.run("true")) == ALWAYS | BUILDING


def test_a_launch_that_joins_loads_nothing_that_builds(batch, telling):
    batch.setup()

    assert loaded(batch.shifter("true")) == ALWAYS | JOINING


def loaded(done: subprocess.CompletedProcess[str]) -> set[str]:
    """What was loaded, but for what every interpreter has."""
    bare = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-B", "-c", "import sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.returncode == 0
    return set(done.stderr.split()) - set(bare.stdout.split()) - INTERPRETERS
