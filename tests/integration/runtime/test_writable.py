# SPDX-License-Identifier: BSD-3-Clause
"""`--writable`, `--mount tmpfs:…`, `--no-mount`: what a user changes of his container, for once."""

from __future__ import annotations

import hashlib
import os
import stat

import pytest

from tests.integration.runtime.node import ALICE, BOB, PROJECT, make_setuid_shell

pytestmark = pytest.mark.root

MINE = f"/shared/{ALICE}"
FORMATS = ["squashfs", "ext4", "xfs", "VFS"]


def furnish(tree):
    """What distributions have, with the modes that they have it with: all of it is root's."""
    (tree / "usr/share/doc/tool").mkdir(parents=True)
    (tree / "usr/share/doc/tool/README").write_text("read me\n")
    (tree / "usr/lib/python3").mkdir(parents=True)
    (tree / "etc/foo").write_text("as it was\n")
    (tree / "etc/private").write_text("for root\n")
    (tree / "etc/private").chmod(0o600)
    (tree / "root").mkdir(mode=0o700)


@pytest.mark.parametrize("format", FORMATS)
def test_all_of_the_image_is_the_users_to_change(node, format):
    image = node.add_image(furnish, format=format)
    before = fingerprint(image)

    written = node.shell(
        """
        set -e
        rm -r /usr/share/doc; test ! -e /usr/share/doc
        mkdir /usr/share/doc; test -z "$(ls /usr/share/doc)"
        echo module > /usr/lib/python3/module.py
        echo changed >> /etc/foo
        echo changed > /etc/private
        mv /etc/os-release /etc/os-release.old
        chmod 700 /usr/lib/python3
        touch /root/x /new; mkdir -p /a/b/c; ln -s nowhere /link; ln /etc/foo /etc/foo2
        cat /etc/foo /usr/lib/python3/module.py; ls /root
        """,
        "--writable",
    )

    assert written == "as it was\nchanged\nmodule\nx\n"
    assert fingerprint(image) == before
    assert node.shell("cat /etc/foo; ls /usr/share/doc; ls -d /new || true") == (
        "as it was\ntool\n"
    )


def fingerprint(image):
    if image.is_file():
        return hashlib.sha256(image.read_bytes()).hexdigest()
    return sorted(
        (str(path), path.lstat().st_mtime_ns, path.lstat().st_uid, path.lstat().st_mode)
        for path in image.rglob("*")
    )


def test_files_of_the_image_are_shown_as_the_users_own(node):
    node.add_image(furnish)

    assert node.shell("stat -c %u:%g / /etc/foo /usr", "--writable") == f"{ALICE}:{ALICE}\n" * 3


def test_the_image_stays_roots_for_everybody_else_at_the_same_time(node):
    node.add_image(furnish)
    process = node.start("--writable", "sh", "-c", "echo x > /etc/foo; echo ready; exec sleep 30")
    try:
        assert process.stdout.readline() == "ready\n"
        seen = node.shell("stat -c %u:%g /etc/foo; cat /etc/foo", user=BOB)
    finally:
        process.kill()
        process.communicate()

    assert seen == "0:0\nas it was\n"


def test_what_the_site_wrote_and_mounted_stays_in_charge(node):
    node.configure(siteFs=f"{node.shared}:/shared:ro")

    script = "stat -c '%u %a' /etc/passwd; touch /shared/x; umount /shared; mount -o remount,rw /"
    done = node.run("--writable", "sh", "-c", script)

    assert done.stdout == "0 644\n"
    assert list(node.shared.glob("x")) == []
    assert "Read-only file system" in done.stderr


def test_set_id_programs_and_devices_stay_inert_in_a_writable_root(node):
    def make(tree):
        make_setuid_shell(tree)
        os.mknod(tree / "data/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))

    node.add_image(make)
    mknod = ("--writable", "busybox", "mknod", "/z", "c", "1", "5")

    assert node.run("--writable", "/bin/busybox-suid", "id", "-u").stdout == f"{ALICE}\n"
    assert "Permission denied" in node.run("--writable", "cat", "/data/zero").stderr
    assert "Operation not permitted" in node.run(*mknod).stderr


def test_every_privilege_is_gone_in_a_writable_root(node):
    status = node.run("--writable", "cat", "/proc/self/status", groups=(PROJECT,)).stdout

    assert f"Uid:\t{ALICE}\t{ALICE}\t{ALICE}\t{ALICE}\n" in status
    assert "CapBnd:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status


def test_writes_end_where_the_user_wanted_them_to(node):
    script = "dd if=/dev/zero of=/x bs=1024k count=20 2>&1; stat -c %s /x"

    done = node.run("--writable=4M", "sh", "-c", script)

    assert "No space left on device" in done.stdout
    assert int(done.stdout.split()[-1]) <= 4 << 20


def test_a_size_that_no_node_has_is_refused(node):
    done = node.run("--writable=4000T", "true")

    assert done.returncode == 1
    assert done.stderr.startswith("shifter: --writable: a size of 4398046511104000 bytes cannot be")


def test_volumes_keep_their_own_rights_in_a_writable_root(node):
    done = node.run("--writable", f"-V{MINE}:/data:ro", "touch", "/data/x", f"{MINE}/y", "/z")

    assert done.stderr.count("Read-only file system") == 1
    assert os.listdir(node.shared / str(ALICE)) == ["y"]


def test_mount_points_made_in_a_writable_root_are_the_users_too(node):
    node.shell("touch /new/deep/x /new/y", "--writable", f"-V{MINE}:/new/deep/er")


def test_an_image_whose_files_are_its_gateways_is_lent_as_well(node):
    image = node.add_image(furnish, format="VFS")
    for path in (image, *image.rglob("*")):
        os.chown(path, 61700, 61700, follow_symlinks=False)
    os.chown(node.images, 61700, 61700)
    try:
        node.shell("echo x >> /etc/foo; rm -r /usr/share; touch /new", "--writable")
    finally:
        os.chown(node.images, 0, 0)


def test_a_filesystem_in_memory_is_the_users_alone(node):
    script = "stat -c '%u:%g %a' /work/tmp; touch /work/tmp/x; grep ' /work/tmp ' /proc/mounts"

    owner, mount = node.shell(script, "--mount=tmpfs:/work/tmp:size=2M").splitlines()

    assert owner == f"{ALICE}:{ALICE} 700"
    assert {"rw", "nosuid", "nodev", "size=2048k"} <= set(mount.split()[3].split(","))


def test_a_filesystem_in_memory_ends_at_its_size(node):
    script = "dd if=/dev/zero of=/work/x bs=1024k count=9 2>&1 || stat -c %s /work/x"

    done = node.shell(script, "--mount=tmpfs:/work:size=2M")

    assert "No space left on device" in done
    assert done.splitlines()[-1] == str(2 << 20)


@pytest.mark.parametrize("target", ["/etc", "/dev/shm", "/proc/self", "/", "/opt/udiImage"])
def test_a_filesystem_in_memory_covers_nothing_of_shifters(node, target):
    done = node.run(f"--mount=tmpfs:{target}", "true")

    assert done.returncode == 1
    assert "reserved by Shifter" in done.stderr


def test_a_filesystem_in_memory_is_not_put_where_the_user_may_not_go(node):
    done = node.run(f"--mount=tmpfs:/shared/{BOB}/x", "true")

    assert done.returncode == 1
    assert "Permission denied" in done.stderr


def test_a_volume_can_lie_in_a_filesystem_in_memory_and_one_in_a_volume(node):
    (node.shared / str(ALICE) / "cache").mkdir()
    options = (f"-V{MINE}:/work/in", "--mount=tmpfs:/work", "--mount=tmpfs:/work/in/cache")

    node.shell("touch /work/out /work/in/file /work/in/cache/lost", *options)

    assert sorted(os.listdir(node.shared / str(ALICE))) == ["cache", "file"]
    assert os.listdir(node.shared / str(ALICE) / "cache") == []


def test_directories_made_in_a_users_filesystem_in_memory_are_his(node):
    listed = node.shell(
        "touch /work/a/b/mine; stat -c %u /work/a /work/a/b",
        "--mount=tmpfs:/work",
        f"-V{MINE}:/work/a/b/in",
    )

    assert listed.split() == [str(ALICE), str(ALICE)]


@pytest.mark.parametrize(
    ("option", "gone"),
    [
        ("--no-mount=shared", {"/shared"}),
        ("--no-mount=/shared/", {"/shared"}),
        ("--no-mount=/tmp", {"/tmp"}),
        ("--no-mount=tmp", {"/tmp", "/var/tmp"}),
    ],
)
def test_the_sites_mounts_can_be_left_out(node, option, gone):
    mounts = {line.split()[1] for line in node.shell("cat /proc/mounts", option).splitlines()}

    assert {"/tmp", "/var/tmp", "/shared"} - mounts == gone


@pytest.mark.parametrize("name", ["scratch", "/proc", "dev", "/"])
def test_what_cannot_be_left_out_is_answered_with_what_can(node, name):
    done = node.run(f"--no-mount={name}", "true")

    assert done.returncode == 1
    assert f"--no-mount {name!r}" in done.stderr
    assert "/shared, /tmp, /var/tmp" in done.stderr
