# SPDX-License-Identifier: BSD-3-Clause
"""`--volume`: anywhere the user wants, with the user's rights, over nothing of Shifter's."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from shifter_runtime import syscalls
from tests.integration.runtime.node import ALICE, BOB

pytestmark = pytest.mark.root

MINE = f"/shared/{ALICE}"


@pytest.fixture
def home(node):
    path = node.shared / str(ALICE)
    (path / "file").write_text("mine\n")
    os.chown(path / "file", ALICE, ALICE)
    return path


@pytest.mark.parametrize(
    "target", ["/data", "/new", "/new/deep/er", "/usr/x/", "/mnt a/b c", "/etcetera", "/ü"]
)
def test_a_volume_appears_anywhere(node, home, target):
    assert node.run(f"--volume={MINE}:{target}", "cat", f"{target}/file").stdout == "mine\n"


def test_a_volume_is_writable_unless_asked_otherwise(node, home):
    node.shell("echo changed > /data/file", f"--volume={MINE}:/data")
    assert (home / "file").read_text() == "changed\n"

    done = node.run(f"-V{MINE}:/data:ro", "touch", "/data/file")
    assert "Read-only file system" in done.stderr


def test_several_volumes_add_up(node, home):
    volumes = ("-V", f"{MINE}:/one;{MINE}:/two:ro", f"--volume={MINE}:/three")

    done = node.run(*volumes, "cat", "/one/file", "/two/file", "/three/file")

    assert done.stdout == "mine\n" * 3


def test_a_file_can_be_a_volume(node, home):
    assert node.run(f"-V{MINE}/file:/data/conf", "cat", "/data/conf").stdout == "mine\n"


def test_a_volume_over_the_tree_that_holds_its_source(node, home):
    assert node.run(f"-V{MINE}:/shared", "cat", "/shared/file").stdout == "mine\n"


def test_every_volume_is_nosuid_and_nodev(node, home):
    mounts = node.run(f"-V{MINE}:/data", "cat", "/proc/mounts").stdout.splitlines()

    (options,) = [line.split()[3] for line in mounts if line.split()[1] == "/data"]
    assert {"nosuid", "nodev"} <= set(options.split(","))


@pytest.mark.parametrize(
    "target",
    [
        *("/", "//", "/.", "/etc", "/etc/x", "//etc", "/./etc", "/etc/", "/var", "/var/lib"),
        *("/proc", "/proc/self", "/dev", "/dev/shm", "/sys", "/opt", "/opt/udiImage"),
    ],
)
def test_nothing_of_shifters_can_be_covered(node, home, target):
    done = node.run(f"-V{MINE}:{target}", "true")

    assert done.returncode == 1
    assert "reserved by Shifter" in done.stderr


def test_var_tmp_may_be_covered(node, home):
    assert node.run(f"-V{MINE}:/var/tmp", "cat", "/var/tmp/file").stdout == "mine\n"


@pytest.mark.parametrize("link", ["/etc", "../etc", "/opt/../etc", "../../../../etc"])
def test_a_link_in_the_image_does_not_lead_a_volume_over_etc(node, home, link):
    node.add_image(lambda tree: (tree / "door").symlink_to(link))

    done = node.run(f"-V{MINE}:/door", "true")

    assert done.returncode == 1
    assert "cannot mount over /etc (reserved by Shifter)" in done.stderr


def test_a_link_in_the_image_never_leads_out_of_the_container(node, home):
    outside = node.prefix / "outside"
    outside.mkdir()
    node.add_image(lambda tree: (tree / "door").symlink_to(f"/../../..{outside}"))

    node.run(f"-V{MINE}:/door/deep", "true")

    assert list(outside.iterdir()) == []
    outside.rmdir()


def test_a_source_that_the_user_cannot_reach_is_refused(node, home):
    os.mkdir(node.shared / str(BOB) / "inner")

    done = node.run(f"-V/shared/{BOB}/inner:/data", "true")

    assert done.returncode == 1
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("name", ["secret", "no/such", "link/deeper"])
def test_a_target_that_the_user_cannot_reach_tells_nothing_of_what_is_there(node, home, name):
    private = node.shared / str(BOB)
    (private / "secret").mkdir()
    (private / "link").symlink_to("secret")
    target = f"/shared/{BOB}/{name}"

    for source in (MINE, f"{MINE}/file"):
        done = node.run(f"-V{source}:{target}", "true")
        assert done.returncode == 1
        assert done.stderr == f"shifter: cannot use volume target {target!r}: Permission denied\n"


def test_volumes_that_double_the_mounts_are_stopped_early(node):
    done = node.run(*(f"-V/:/m{number}" for number in range(40)), "true")

    assert done.returncode == 1
    assert "the volumes make more than 4096 mounts" in done.stderr


def test_a_target_may_be_as_deep_as_a_path_can_be(node, home):
    target = "/d" * 2000

    assert node.run(f"-V{MINE}:{target}", "cat", f"{target}/file").stdout == "mine\n"


def test_a_volume_of_the_images_own_files_is_as_read_only_as_the_root(node):
    node.add_image(lambda tree: (tree / "data").chmod(0o777))

    assert "Read-only file system" in node.run("-V/data:/again", "touch", "/again/x").stderr


def test_a_volume_of_the_images_own_files_is_writable_where_the_root_is(node):
    node.configure(mountUdiRootWritable=1)
    node.add_image(lambda tree: (tree / "data").chmod(0o777))

    assert node.shell("touch /again/x; ls /data", "-V/data:/again") == "x\n"


def test_a_source_is_what_the_container_sees(node, home):
    done = node.run("-V/root:/data", "true")

    assert done.returncode == 1
    assert "does not exist in the container" in done.stderr


def test_absolute_links_in_a_source_stay_in_the_container(node, home):
    (home / "to_etc").symlink_to("/etc")

    assert node.run(f"-V{MINE}/to_etc:/data", "cat", "/data/os-release").stdout == "ID=busybox\n"


def test_proc_is_no_way_out(node, home):
    for source in ("/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/self/fd/0"):
        assert node.run(f"-V{source}:/data", "true").returncode == 1


def test_nothing_is_made_on_filesystems_that_outlive_the_container(node, home):
    done = node.run(f"-V/data:{MINE}/not/there", "true")

    assert done.returncode == 1
    assert "lies on another filesystem" in done.stderr
    assert not (home / "not").exists()


def test_a_directory_is_not_mounted_over_a_file(node, home):
    assert node.run(f"-V{MINE}:/bin/busybox", "true").returncode == 1


@pytest.fixture
def own_fuse(node, home):
    """Who serves a FUSE filesystem of alice's own: an image, below what the site shares."""
    place = home / "own"
    place.mkdir()
    (image,) = node.images.glob("*.squashfs")
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={ALICE},group_id={ALICE}"
    syscalls.checked(
        syscalls._mount(b"fuse", bytes(place), b"fuse", syscalls.MS_NOSUID, options.encode()),
        "fuse",
    )
    served = subprocess.Popen(
        ["squashfuse", "-f", image, f"/dev/fd/{device}"], pass_fds=[device], stderr=subprocess.PIPE
    )
    os.close(device)
    node.configure(siteFs=f"{node.shared}:/shared:rec")
    yield served
    syscalls.detach(str(place))
    served.communicate(timeout=10)


def test_a_fuse_filesystem_of_the_users_own_can_be_a_volume(node, own_fuse):
    volume = f"-V{MINE}/own:/data;{MINE}/own/etc/os-release:/etc-release"

    assert node.shell("cat /data/etc/os-release /etc-release", volume) == "ID=busybox\n" * 2


def test_a_filesystem_that_does_not_answer_keeps_nobody_waiting(node, own_fuse):
    own_fuse.send_signal(signal.SIGSTOP)
    try:
        done = node.run(f"-V{MINE}/own/etc:/data", "true")
    finally:
        own_fuse.send_signal(signal.SIGCONT)

    assert done.returncode == 1
    assert f"'{MINE}/own/etc' is on a filesystem of yours that does not answer" in done.stderr


def test_a_fuse_filesystem_of_another_user_cannot(node, own_fuse):
    (node.shared / str(ALICE)).chmod(0o755)

    done = node.run(f"-V{MINE}/own:/data", "true", user=BOB)

    assert done.returncode == 1
    assert done.stderr == f"shifter: cannot use volume source '{MINE}/own': Permission denied\n"
