# SPDX-License-Identifier: BSD-3-Clause
"""Images of every format run alike, and those that root must not rely on run not at all."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID, host_state, make_setuid_shell

pytestmark = pytest.mark.root

MADE = ["ext4", "VFS"]


def use(node, format, make=None, **options):
    """Have this image, and no other, on the node."""
    node.add_image(make, format=format, **options)
    (node.images / f"{IMAGE_ID}.squashfs").unlink(missing_ok=True)
    return node.images / f"{IMAGE_ID}.{format}"


@pytest.mark.parametrize("format", MADE)
def test_a_user_runs_a_program_of_the_image(node, format):
    use(node, format, lambda tree: (tree / "data/file").write_text("from the image\n"))

    assert node.shell("id -u; cat /data/file") == f"{ALICE}\nfrom the image\n"


@pytest.mark.parametrize("format", MADE)
def test_nobody_writes_to_the_image(node, format):
    def make(tree):
        (tree / "data/open").write_text("as it was")
        (tree / "data/open").chmod(0o666)
        (tree / "data").chmod(0o1777)

    use(node, format, make)

    done = node.run("sh", "-c", "touch /data/new; echo changed > /data/open; cat /data/open")

    assert done.stdout == "as it was"
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.parametrize("format", MADE)
def test_what_is_written_into_a_writable_root_stays_out_of_the_image(node, format):
    def make(tree):
        (tree / "data/open").write_text("as it was\n")
        (tree / "data/open").chmod(0o666)

    use(node, format, make)
    node.configure(mountUdiRootWritable=1)

    written = node.shell("echo changed > /data/open; cat /data/open")

    assert written == "changed\n"
    assert node.shell("cat /data/open") == "as it was\n"


@pytest.mark.parametrize("format", MADE)
def test_set_id_programs_and_devices_of_the_image_are_inert(node, format):
    def make(tree):
        make_setuid_shell(tree)
        os.mknod(tree / "data/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))

    use(node, format, make)

    assert node.run("/bin/busybox-suid", "id", "-u").stdout == f"{ALICE}\n"
    assert "Permission denied" in node.run("cat", "/data/zero").stderr


@pytest.mark.parametrize("format", MADE)
def test_no_mount_of_the_node_is_left_to_be_found(node, format):
    use(node, format)

    places = {line.split()[1] for line in node.run("cat", "/proc/mounts").stdout.splitlines()}

    assert not any(place.startswith(str(node.prefix)) for place in places)


def test_launches_of_an_ext4_image_share_one_loop_device(node):
    use(node, "ext4")

    running = [node.start("sh", "-c", "echo ready; exec sleep 30") for _ in range(3)]
    try:
        ready = [process.stdout.readline() for process in running]
        devices = host_state(node.prefix)
    finally:
        for process in running:
            process.kill()
            process.communicate()

    assert ready == ["ready\n"] * 3
    assert len(devices) == 1


def test_an_ext4_image_that_was_not_unmounted_cleanly_runs_without_being_written_to(node):
    image = use(node, "ext4")
    # As the kernel marks one whose journal holds what is to be replayed.
    subprocess.run(["debugfs", "-w", "-R", "feature needs_recovery", image], check=True,
                   capture_output=True)  # fmt: skip
    before = image.read_bytes()

    assert node.run("id", "-u").stdout == f"{ALICE}\n"
    assert image.read_bytes() == before


@pytest.mark.parametrize("option", [["-e", "panic"], ["-E", "mount_opts=errors=panic"]])
def test_a_damaged_ext4_image_cannot_halt_the_node(node, option):
    image = use(node, "ext4")
    subprocess.run(["tune2fs", *option, image], check=True, capture_output=True)

    process = node.start("sh", "-c", "echo ready; exec sleep 30")
    try:
        process.stdout.readline()
        (device,) = (
            path.parents[1].name
            for path in Path("/sys/block").glob("loop*/loop/backing_file")
            if path.read_text() == f"{image}\n"
        )
        options = Path(f"/proc/fs/ext4/{device}/options").read_text().split()
    finally:
        process.kill()
        process.communicate()

    assert "errors=continue" in options


def test_the_plan_binds_a_directory_where_it_would_mount_a_file(node):
    image = use(node, "VFS")

    plan = node.run("--dry-run", "true").stdout

    assert plan.startswith(f"bind {image} on {node.prefix}/loop (ro,nosuid,nodev)\n")


def test_a_directory_image_is_nobodys_but_the_gateways_and_still_read_inside(node):
    image = use(node, "VFS")

    assert stat.S_IMODE(image.stat().st_mode) == 0o700
    assert node.run("cat", "/etc/os-release").stdout == "ID=busybox\n"


def replaced_by_link(image: Path) -> str:
    image.rename(image.with_suffix(".elsewhere"))
    image.symlink_to(image.with_suffix(".elsewhere"))
    return "Too many levels of symbolic links"


def owned_by_user(image: Path) -> str:
    os.chown(image, ALICE, ALICE)
    return f"belongs to user {ALICE}, who does not write images here (imageOwners)"


def writable_by_all(image: Path) -> str:
    image.chmod(0o777)
    return "is writable by others (mode 0777)"


def a_file(image: Path) -> str:
    shutil.rmtree(image)
    image.write_text("not a directory")
    return "is not a directory"


def missing(image: Path) -> str:
    shutil.rmtree(image)
    return "does not exist; pull the image again"


@pytest.mark.parametrize(
    "harm", [replaced_by_link, owned_by_user, writable_by_all, a_file, missing]
)
def test_a_directory_that_root_must_not_rely_on_is_refused(node, harm):
    problem = harm(use(node, "VFS"))

    done = node.run("true")

    assert done.returncode == 1
    assert problem in done.stderr


def test_a_format_that_no_runtime_mounts_is_named(node):
    (node.images / f"{IMAGE_ID}.meta").write_text("FORMAT: cramfs\n")

    done = node.run("true")

    assert "has format cramfs, which cannot be mounted" in done.stderr
    assert "squashfs, ext4, xfs, VFS" in done.stderr
