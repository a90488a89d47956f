# SPDX-License-Identifier: BSD-3-Clause
"""Whatever an image holds, the node stays as it is and the user a user."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from tests.integration.runtime.node import ALICE, make_setuid_shell

pytestmark = pytest.mark.root

MOUNTED = ["etc", "proc", "dev", "tmp", "shared"]


def replace(tree, name, make) -> None:
    path = tree / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    make(path)


@pytest.mark.parametrize("format", ["squashfs", "VFS"])
@pytest.mark.parametrize("name", MOUNTED)
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/"),
        lambda path: path.symlink_to("../../../../../../tmp"),
        lambda path: path.symlink_to("no/where"),
        lambda path: path.symlink_to(path.name),
        lambda path: path.write_text("a file"),
        os.mkfifo,
    ],
    ids=["to-root", "upwards", "dangling", "loop", "file", "fifo"],
)
def test_a_thing_in_the_place_of_a_directory_neither_escapes_nor_stops_the_node(
    node, name, make, format
):
    node.add_image(lambda tree: replace(tree, name, make), format=format)
    before = sorted(os.listdir("/")), sorted(os.listdir("/etc")), os.stat("/etc/passwd").st_mtime_ns

    done = node.run("sh", "-c", "id -u")

    after = sorted(os.listdir("/")), sorted(os.listdir("/etc")), os.stat("/etc/passwd").st_mtime_ns
    assert after == before
    assert done.stdout in ("", f"{ALICE}\n")
    assert done.returncode == 0 or done.stderr.startswith("shifter: ")


@pytest.mark.parametrize("format", ["squashfs", "VFS"])
def test_files_of_etc_that_are_links_are_replaced_not_followed(node, format):
    def make(tree):
        (tree / "victim").write_text("untouched\n")
        for name in ("passwd", "group", "hosts", "resolv.conf", "shadow", "nsswitch.conf"):
            (tree / "etc" / name).symlink_to("/victim")

    node.add_image(make, format=format)

    assert node.run("cat", "/victim").stdout == "untouched\n"
    assert "alice" in node.run("cat", "/etc/passwd").stdout


def test_a_setuid_program_of_the_image_stays_the_users(node):
    node.add_image(make_setuid_shell)

    assert node.run("/bin/busybox-suid", "id", "-u").stdout == f"{ALICE}\n"


def test_no_volume_can_be_brought_over_the_kernels_directories(node):
    mine = node.shared / str(ALICE)
    (mine / "sys/kernel").mkdir(parents=True)
    (mine / "sys/kernel/cap_last_cap").write_text("0\n")
    node.add_image(lambda tree: replace(tree, "proc", lambda path: path.symlink_to("/data")))

    status = node.run(f"-V/shared/{ALICE}:/data", "cat", "/proc/self/status").stdout

    assert "CapBnd:\t0000000000000000\n" in status


def test_device_nodes_of_the_image_are_inert(node):
    def make(tree):
        os.mknod(tree / "data/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))

    node.add_image(make)

    assert "Permission denied" in node.run("cat", "/data/zero").stderr


def test_the_nodes_devices_hide_those_of_the_image(node):
    def make(tree):
        (tree / "dev").mkdir()
        (tree / "dev/null").write_text("not null")

    node.add_image(make)

    node.shell("test -c /dev/null")


def test_every_mount_is_nosuid_and_nodev_but_dev(node):
    mounts = [line.split() for line in node.run("cat", "/proc/mounts").stdout.splitlines()]

    assert len(mounts) > 5
    for _, place, _, options, *_ in mounts:
        assert "nosuid" in options.split(","), place
        assert place.startswith("/dev") or "nodev" in options.split(","), place


def test_no_mount_of_the_node_is_left_to_be_found(node):
    places = {line.split()[1] for line in node.run("cat", "/proc/mounts").stdout.splitlines()}

    assert not any(place.startswith(str(node.prefix)) for place in places)


def test_the_site_can_not_be_unmounted_or_made_writable_by_the_user(node):
    node.configure(siteFs=f"{node.shared}:/shared:ro")

    done = node.run("sh", "-c", "umount /shared; mount -o remount,rw /; touch /shared/x")

    assert done.returncode != 0
    assert list(node.shared.glob("x")) == []


@pytest.mark.parametrize("format", ["squashfs", "ext4", "VFS"])
def test_overlay_attributes_of_an_image_redirect_nothing(node, format):
    def make(tree):
        (tree / "data/plain").mkdir()
        os.setxattr(tree / "data/plain", "trusted.overlay.redirect", b"/etc")
        os.setxattr(tree / "data/plain", "trusted.overlay.opaque", b"y")

    node.add_image(make, format=format)

    assert node.run("ls", "/data/plain").stdout == ""
