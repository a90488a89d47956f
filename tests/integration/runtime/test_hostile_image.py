# SPDX-License-Identifier: BSD-3-Clause
"""Whatever an image holds, the node stays as it is and the user a user."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, BOB, make_setuid_shell

pytestmark = pytest.mark.root

MOUNTED = ["etc", "var", "opt", "proc", "dev", "tmp", "shared"]


def replace(tree, name, make) -> None:
    path = tree / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    make(path)


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
def test_a_thing_in_the_place_of_a_directory_neither_escapes_nor_stops_the_program(
    node, name, make
):
    node.add_image(lambda tree: replace(tree, name, make), format="VFS")
    before = sorted(os.listdir("/")), sorted(os.listdir("/etc")), os.stat("/etc/passwd").st_mtime_ns

    done = node.run(
        "sh", "-c", f"id -u; cd /{name} && ls -d /etc/passwd /dev/null /proc/1 /shared/*"
    )

    after = sorted(os.listdir("/")), sorted(os.listdir("/etc")), os.stat("/etc/passwd").st_mtime_ns
    assert after == before
    if name in ("etc", "var", "opt") and "tmp" in str(done.stderr):
        # Of all names, the site's files would go where the node has its own.
        assert done.stderr.startswith(f"shifter: cannot make /{name}")
        return
    assert done.stderr == ""
    assert done.stdout.split() == [
        *(str(ALICE), "/dev/null", "/etc/passwd", "/proc/1"),
        *(f"/shared/{user}" for user in (ALICE, BOB)),
    ]


def make_every_name_a_thing(tree, make) -> None:
    for name in ("etc", "home", "opt", "proc", "shared", "sys", "tmp", "usr", "var"):
        replace(tree, name, make)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/"),
        lambda path: path.symlink_to("/proc"),
        lambda path: path.symlink_to(f"/no/{path.name}"),
        os.mkfifo,
    ],
    ids=["to-root", "to-proc", "dangling", "fifo"],
)
def test_an_image_of_nothing_but_such_things_runs_its_program(node, make):
    node.configure(siteFs=f"{node.shared}:/shared;{node.shared}:/home/deep/er")
    node.add_image(lambda tree: make_every_name_a_thing(tree, make))

    listed = node.shell("id -u; ls -d /home/deep/er/* /tmp /var/tmp /etc/passwd")

    homes = [f"/home/deep/er/{user}" for user in (ALICE, BOB)]
    assert listed.split() == [str(ALICE), "/etc/passwd", *homes, "/tmp", "/var/tmp"]


def test_an_empty_directory_gives_way_to_a_file_of_the_sites(node):
    node.add_image(lambda tree: (tree / "etc/resolv.conf").mkdir())

    assert node.shell("cat /etc/resolv.conf") == Path("/etc/resolv.conf").read_text()


def test_a_directory_that_cannot_give_way_to_a_file_of_the_sites_is_named(node):
    node.add_image(lambda tree: (tree / "etc/group/d").mkdir(parents=True))

    done = node.run("true")

    assert (done.returncode, done.stderr) == (
        1,
        "shifter: cannot write /etc/group: the image has a directory there, with something in it; "
        "build the image without that\n",
    )


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
