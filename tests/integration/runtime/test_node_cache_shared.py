# SPDX-License-Identifier: BSD-3-Clause
"""perNodeCache where it is meant to be: on a shared filesystem on which root has no rights."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import shared_filesystem
from tests.gluster import gluster  # noqa: F401 - a fixture
from tests.integration.runtime.node import ALICE, host_state

pytestmark = pytest.mark.root

CACHE = "-V/x:/mnt:perNodeCache=size=300M"


@pytest.fixture
def place(node, gluster):  # noqa: F811 - the fixture
    """A perNodeCachePath there, as a site should make it; nothing may be in it at the end."""
    name = f"caches-{secrets.token_hex(4)}"
    made = []

    def make(directory):
        made.append(directory / name)
        made[0].mkdir()
        made[0].chmod(0o1733)

    shared_filesystem.fill(gluster, make)
    node.configure(perNodeCachePath=gluster / name)
    yield gluster / name
    deadline = time.monotonic() + 10
    while files_in_use(gluster / name) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert files_in_use(gluster / name) == []
    assert list(made[0].iterdir()) == []


def files_in_use(place):
    """What loop devices are backed by; seen from here, the path begins at the filesystem's root."""
    return host_state(Path(place.name))


def on_server(place, change):
    """Change a directory where root has rights, and let the client forget what it knew."""
    shared_filesystem.fill(place.parent, lambda directory: change(directory / place.name))
    subprocess.run(["stat", "--cached=never", place], check=True, stdout=subprocess.DEVNULL)
    time.sleep(1.1)  # for so long, the kernel believes what it was told


def test_root_has_no_rights_there(place):
    with pytest.raises(PermissionError):
        list(place.iterdir())


def test_a_cache_can_be_had(node, place):
    script = "ls -A /mnt; echo text > /mnt/file; /bin/busybox fsync /mnt/file; cat /mnt/file"

    assert node.shell(script, CACHE) == "text\n"


def test_its_file_has_no_name_while_it_is_used(node, place):
    process = node.start(CACHE, "sh", "-c", "echo up; exec sleep 100")
    assert process.stdout.readline() == "up\n", process.stderr.read()

    names = []
    shared_filesystem.fill(place.parent, lambda at: names.extend(os.listdir(at / place.name)))
    (file,) = files_in_use(place)
    process.kill()
    process.communicate(timeout=60)

    assert names == []
    assert f"/perNodeCache_uid{ALICE}_gid{ALICE}_{os.uname().nodename}.xfs." in file
    assert file.strip().endswith("(deleted)")


def test_launches_at_once_have_one_each(node, place):
    launches = [node.start(CACHE, "sh", "-c", "ls -A /mnt; touch /mnt/f") for _ in range(10)]

    for launch in launches:
        assert launch.communicate(timeout=120) == ("", "")


def test_its_owner_cannot_open_it_in_the_moment_that_it_has_a_name(node, place):
    """He looks for it wherever a name of it might show, as fast as he can."""
    attack = f"""
import glob, os
for turn in range(10**9):
    names = []
    try:
        names += os.listdir({str(place)!r})
    except PermissionError:
        pass
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            names.append(os.path.basename(open(path).read().strip()))
        except OSError:
            pass
    for name in names:
        if name.startswith("perNodeCache_"):
            for end in ("", " (deleted)"):
                try:
                    os.open({str(place)!r} + "/" + name.removesuffix(end), os.O_PATH)
                    print("opened", name, flush=True)
                except FileNotFoundError:
                    pass
    if turn == 0:
        print("looking", flush=True)
"""
    attacker = subprocess.Popen(
        [sys.executable, "-c", attack],
        user=ALICE, group=ALICE, extra_groups=(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert attacker.stdout.readline() == "looking\n"

    for _ in range(20):
        assert node.run(CACHE, "true").returncode == 0
    attacker.kill()

    assert attacker.communicate()[0] == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.chmod(0o1777), "can be listed by others than root (mode 1777)"),
        (lambda path: path.chmod(0o1753), "can be listed by others than root (mode 1753)"),
        (lambda path: os.chown(path, ALICE, ALICE), "belongs to you"),
    ],
)
def test_where_names_can_be_seen_nothing_is_mounted(node, place, change, problem):
    """A file with a name, for a moment, could be opened by its owner, who then keeps it open."""
    on_server(place, change)

    done = node.run(CACHE, "true")

    assert done.returncode == 1
    assert f"perNodeCachePath {place} {problem}" in done.stderr
    assert "chmod 1733" in done.stderr


def test_who_may_not_write_there_has_no_cache(node, place):
    on_server(place, lambda path: path.chmod(0o1711))

    done = node.run(CACHE, "true")

    assert done.returncode == 1
    assert f"cannot make a file in perNodeCachePath {place}: Permission denied" in done.stderr
