# SPDX-License-Identifier: BSD-3-Clause
"""Each recorded volume, given to `shifter` for real: mounted where the original mounted it.

All in one test, since the container of the recording is the same for all of them.
"""

from __future__ import annotations

import os

import pytest

from tests.integration.runtime.node import ALICE, BOB
from tests.unit.shifter_runtime.test_volumes import recorded

pytestmark = pytest.mark.root

# Where ours does better, and why; numbers are of the requirements that the original did not meet.
_NAMES = "a path is kept as it was typed"
_COMPONENTS = "5: compared by whole components, however it is spelled"
_RESERVED = "5: the kernel's directories are nobody's to cover"
_ANYWHERE = "a mount point can be anywhere that the user's own rights reach"
_LINKS = "25: links resolve inside the container"
DIFFERENT = {
    "/data:/mnt:ro ": ("accepted", "white space around a flag means nothing"),
    '"/data:/mnt': ("refused", _NAMES),
    "/data:/mnt..": ("accepted", "only a whole component .. leads upwards"),
    "/home/alice/a b:/mnt": ("accepted", _NAMES),
    "/dat\ta:/mnt": ("refused", _NAMES),
    "/data:/etcetera": ("accepted", _COMPONENTS),
    "/data:/variable": ("accepted", _COMPONENTS),
    "/data:/opt/udiImage2": ("accepted", _COMPONENTS),
    "/data:/var/tmp/": ("accepted", _COMPONENTS),
    "/data:/proc": ("refused", _RESERVED),
    "/data:/dev": ("refused", _RESERVED),
    "/data:/dev/shm": ("refused", _RESERVED),
    "/data:/sys": ("refused", _RESERVED),
    "/data:/home/alice": ("accepted", _ANYWHERE),
    "/data:/home/alice/src": ("accepted", _ANYWHERE),
    "/data:/newdir/sub": ("accepted", _ANYWHERE),
    "/data:/lnk": ("accepted", _LINKS),
    "/lnk:/mnt": ("accepted", _LINKS),
    "/:/mnt": ("accepted", "the container's own root, as read-only there as it is at /"),
}


@pytest.fixture
def container(node):
    """The header of volumes.tsv: what image and siteFs hold."""

    def make(tree):
        for name in ("srv", "mnt", "opt/app", "root"):
            (tree / name).mkdir(parents=True)
        (tree / "writable").mkdir(mode=0o777)
        (tree / "data/file").write_text("data\n")
        (tree / "rootfile").write_text("rootfile\n")
        (tree / "lnk").symlink_to("/bin")

    home = node.shared / "alice"
    for name in ("src", "private", "a b"):
        (home / name).mkdir(parents=True)
    (home / "link").symlink_to("/home/alice/src")
    (home / "file").write_text("file\n")
    for path in (home, *home.rglob("*")):
        os.chown(path, ALICE, ALICE, follow_symlinks=False)
    (home / "private").chmod(0o700)
    os.chown(home / "private", BOB, BOB)
    node.configure(siteFs=f"{node.shared}:/home")
    node.add_image(make)
    return node


def outcome(node, spec: str) -> str:
    done = node.run("-V", spec, "true")
    if done.returncode == 0:
        assert done.stderr == ""
        return "accepted"
    if done.returncode == 127:  # mounted over what the program is in
        return "accepted"
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), (spec, done.stderr)
    assert done.stderr.startswith("shifter: ")
    return "refused"


def test_each_recorded_volume_is_mounted_or_refused_as_it_was(container):
    """Without perNodeCache, which has tests of its own."""
    rows = [(spec, result) for spec, result, _ in recorded("user") if "ernode" not in spec.lower()]
    expected = {
        spec: DIFFERENT.get(spec, ("accepted" if result == "accepted" else "refused", ""))[0]
        for spec, result in rows
    }

    found = {spec: outcome(container, spec) for spec, _ in rows}

    assert found == expected
