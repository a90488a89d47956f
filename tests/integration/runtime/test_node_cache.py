# SPDX-License-Identifier: BSD-3-Clause
"""perNodeCache: a filesystem of the user's own in a file that nobody can reach."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shifter_runtime import syscalls, xfs
from tests.integration.runtime.node import ALICE, BOB, host_state, wait_until

pytestmark = pytest.mark.root

MINIMUM = 300 << 20
CACHE = "-V/x:/mnt:perNodeCache=size=300M"
TEMPLATES = Path("/run/shifter/cache-templates")


@pytest.fixture
def caches(node):
    """A perNodeCachePath of the node's; nothing may be in it at the end."""
    path = node.prefix / "caches"
    path.mkdir()
    path.chmod(0o1733)
    node.configure(perNodeCachePath=path)
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


@pytest.fixture
def new_size():
    """A size of which this node has no template; what is made of it goes with the test."""
    size = MINIMUM + 4096 * (1 + secrets.randbelow(1 << 20))
    yield size
    for path in TEMPLATES.glob(f"*-{size}-*"):
        path.unlink()


def start_and_wait(node, *words):
    """A launch whose program says that it runs, and then does until it is ended."""
    process = node.start(*words, "sh", "-c", "echo up; exec sleep 100")
    assert process.stdout.readline() == "up\n", process.stderr.read()
    return process


def end(process):
    process.kill()
    process.communicate(timeout=60)


def backing_files(place: Path) -> list[str]:
    return [line for line in host_state(place) if str(place) in line]


def test_it_is_an_xfs_of_that_size_which_only_the_user_may_enter(node, caches):
    script = (
        "grep ' /mnt ' /proc/mounts; ls -land /mnt; /bin/busybox df -m /mnt | /bin/busybox tail -n1"
    )
    mount, directory, usage = node.shell(script, CACHE).splitlines()

    assert mount.split()[2] == "xfs"
    assert {"rw", "nosuid", "nodev"} <= set(mount.split()[3].split(","))
    mode, _, uid, gid, *_ = directory.split()
    assert (mode, uid, gid) == ("drwx------", str(ALICE), str(ALICE))
    assert 200 < int(usage.split()[1]) < 300


def test_it_is_empty_and_holds_what_is_written(node, caches):
    script = "ls -A /mnt; echo text > /mnt/file; /bin/busybox fsync /mnt/file; cat /mnt/file"

    assert node.shell(script, CACHE) == "text\n"


def test_it_can_be_the_sites_wish(node, caches):
    node.configure(perNodeCachePath=caches, siteFs="/x:/var/cache/mine:perNodeCache=size=300M")

    assert node.shell("echo x > /var/cache/mine/f; ls -A /var/cache/mine") == "f\n"


def test_it_can_be_tmp_and_hold_other_volumes(node, caches):
    words = ("-V/x:/tmp:perNodeCache=size=300M", f"-V/shared/{ALICE}:/tmp/deep/er")

    script = "touch /tmp/deep/er/file /tmp/deep/mine; ls -A /tmp /tmp/deep"

    assert node.shell(script, *words) == "/tmp:\ndeep\n\n/tmp/deep:\ner\nmine\n"
    assert (node.shared / str(ALICE) / "file").exists()


def test_read_only_is_as_read_only_as_asked(node, caches):
    done = node.run(f"{CACHE}:ro", "touch", "/mnt/file")

    assert "Read-only file system" in done.stderr


def test_several_in_one_container_are_several(node, caches):
    words = [f"-V/x:/m{number}:perNodeCache=size=300M" for number in range(3)]

    assert node.shell("touch /m0/a /m1/b; ls -A /m0 /m1 /m2", *words) == (
        "/m0:\na\n\n/m1:\nb\n\n/m2:\n"
    )


def test_launches_at_once_have_one_each(node, caches):
    script = "ls -A /mnt; touch /mnt/file; sleep 1"
    launches = [node.start(CACHE, "sh", "-c", script) for _ in range(30)]

    for launch in launches:
        assert launch.communicate(timeout=120) == ("", "")
        assert launch.returncode == 0


def test_a_cache_larger_than_the_disk_takes_no_room(node, caches):
    before = os.statvfs(caches)
    size = before.f_blocks * before.f_frsize * 4 // (1 << 30)
    process = start_and_wait(node, f"-V/x:/mnt:perNodeCache=size={size}G")

    used = (before.f_bfree - os.statvfs(caches).f_bfree) * before.f_frsize
    end(process)

    assert used < 1 << 30  # others write to this disk, too


def test_a_full_cache_says_so_and_can_be_used_again(node, caches):
    script = (
        "/bin/busybox dd if=/dev/zero of=/mnt/big bs=1M count=400 2>&1; "
        "rm /mnt/big; echo fits > /mnt/small; cat /mnt/small"
    )
    said = node.shell(script, CACHE)

    assert "No space left on device" in said
    assert said.endswith("fits\n")


# What remains


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_it_vanishes_with_the_program_however_that_ends(node, caches, sent):
    process = start_and_wait(node, CACHE)
    assert any("(deleted)" in line for line in backing_files(caches))

    process.send_signal(sent)
    process.communicate(timeout=60)

    wait_until_released(caches)


def test_it_lives_as_long_as_any_process_inside(node, caches):
    script = "(sleep 1; echo late > /mnt/file; cat /mnt/file) & exit 0"

    assert node.shell(script, CACHE) == "late\n"


def test_a_launch_that_is_killed_while_it_builds_leaves_nothing(node, caches, new_size):
    for delay in range(0, 60, 3):
        process = node.start(f"-V/x:/mnt:perNodeCache=size={new_size}", "sleep", "60")
        time.sleep(delay / 1000)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)

    wait_until_released(caches)
    assert all(path.stat().st_size == new_size for path in TEMPLATES.glob(f"*-{new_size}-*"))


def wait_until_released(place):
    wait_until(lambda: not backing_files(place))
    assert list(place.iterdir()) == []


# What must not work


def test_no_process_of_the_users_can_reach_the_file(node, caches):
    process = start_and_wait(node, CACHE)
    # Whatever a process of hers has open, and each loop device of the node's.
    script = (
        f"for fd in /proc/*/fd/*; do readlink $fd; done 2>/dev/null | grep {caches}; "
        "for device in /dev/loop[0-9]*; do : 2>/dev/null < $device && echo read $device; done; "
        f"ls {caches} 2>/dev/null"
    )
    found = subprocess.run(
        ["sh", "-c", script], user=ALICE, group=ALICE, extra_groups=(), capture_output=True,
        text=True,
    )  # fmt: skip
    end(process)

    assert found.stdout == ""


def test_a_program_cannot_reach_it_by_its_loop_device(node, caches):
    done = node.run(CACHE, "sh", "-c", "for d in /dev/loop[0-9]*; do echo x > $d; done; exit 0")

    assert done.stderr
    assert all("Permission denied" in line for line in done.stderr.splitlines())


@pytest.mark.parametrize("target", ["/etc", "/var", "/proc", "/dev", "/opt/udiImage", "/"])
def test_it_covers_nothing_of_shifters(node, caches, target):
    done = node.run(f"-V/x:{target}:perNodeCache=size=300M", "true")

    assert done.returncode == 1
    assert "reserved by Shifter" in done.stderr


def test_a_link_in_the_image_does_not_lead_it_over_etc(node, caches):
    node.add_image(lambda tree: (tree / "door").symlink_to("etc"))

    done = node.run("-V/x:/door:perNodeCache=size=300M", "true")

    assert "cannot mount at /etc" in done.stderr or "cannot mount over /etc" in done.stderr
    assert done.returncode == 1


def test_setuid_files_in_it_are_inert(node, caches):
    script = (
        "cp /bin/busybox /mnt/id; chmod 6755 /mnt/id; /mnt/id -u; grep NoNewPrivs /proc/self/status"
    )
    node.add_image(lambda tree: add_applets(tree, "cp", "chmod", "grep"))

    assert node.shell(script, CACHE).split() == [str(ALICE), "NoNewPrivs:", "1"]


def add_applets(tree, *names):
    for name in names:
        (tree / "bin" / name).symlink_to("busybox")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("size=299M", "at least 314572800 bytes"),
        ("size=1", "at least 314572800 bytes"),
        ("size=0", "must be a number above 0"),
        ("size=-1", "must be a number above 0"),
        ("size=9999E", "must be a number above 0"),
        ("size=99999999999999999999999", "must be a number above 0"),
        ("size=2P", "at most 1125899906842624 bytes"),
        ("size=300M,bs=0", "bs must be a number above 0"),
        ("size=300M,method=file", "only method=loop"),
        ("size=300M,fs=ext4", "only fs=xfs"),
        ("bs=1M", "needs a size"),
        ("", "needs a size"),
    ],
)
def test_bad_settings_are_one_sentence(node, caches, settings, sentence):
    assert sentence in refusal(node, f"-V/x:/mnt:perNodeCache={settings}")


def refusal(node, *words, **options):
    """The one sentence by which a launch is refused."""
    done = node.run(*words, "true", **options)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def test_the_sites_limit_holds(node, caches):
    node.configure(perNodeCachePath=caches, perNodeCacheSizeLimit="400M")

    assert "at most 419430400 bytes (perNodeCacheSizeLimit)" in refusal(
        node, "-V/x:/mnt:perNodeCache=size=419430401"
    )
    assert node.run("-V/x:/mnt:perNodeCache=size=400M", "true").returncode == 0


def test_without_a_place_there_are_no_caches(node):
    assert "the site sets no perNodeCachePath" in refusal(node, CACHE)


def test_only_filesystems_that_the_site_allows_are_made(node, caches):
    node.configure(perNodeCachePath=caches, perNodeCacheAllowedFsType="ext4 btrfs")
    assert "fs=xfs is not allowed here (perNodeCacheAllowedFsType: ext4 btrfs)" in refusal(
        node, CACHE
    )
    node.configure(perNodeCachePath=caches, perNodeCacheAllowedFsType="btrfs, xfs")
    assert node.run(CACHE, "true").returncode == 0


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.touch(), "Not a directory"),
        (lambda path: os.mkfifo(path), "Not a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "Not a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.mkdir(0o755), "Permission denied"),
        (lambda path: path.mkdir(0o700), "Permission denied"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_sentence(node, make, reason):
    place = node.prefix / "odd"
    make(place)
    node.configure(perNodeCachePath=place)
    try:
        said = refusal(node, CACHE)
    finally:
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)

    assert f"perNodeCachePath {place}: {reason}" in said


def test_another_users_directory_is_no_place(node):
    place = node.shared / str(BOB)
    node.configure(perNodeCachePath=place)

    assert f"cannot make a file in perNodeCachePath {place}: Permission denied" in refusal(
        node, CACHE
    )
    assert list(place.iterdir()) == []


def test_a_link_that_is_swapped_meanwhile_leads_nowhere_else(node, caches):
    """The user's rights decide where the file goes, whatever the path means at which moment."""
    link, other = node.prefix / "swapped", node.shared / str(BOB)
    link.symlink_to(caches)
    node.configure(perNodeCachePath=link)
    swap = f"while :; do ln -sfn {other} {link}; ln -sfn {caches} {link}; done"
    swapper = subprocess.Popen(["sh", "-c", swap])
    try:
        done = [node.run(CACHE, "ls", "-A", "/mnt") for _ in range(40)]
    finally:
        swapper.kill()
        swapper.wait()
        link.unlink()

    refused = [one.stderr for one in done if one.returncode]
    assert 0 < len(refused) < len(done)
    assert all("Permission denied" in said for said in refused)
    assert {one.stdout for one in done} == {""}
    assert list(other.iterdir()) == []


def test_a_limit_on_the_size_of_files_is_said(node, caches):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    said = refusal(node, CACHE, preexec_fn=limit)

    assert "File too large: ask for a smaller size, or raise the limit (ulimit -f)" in said


# A disk that is full


def mounted_small(node, *words):
    """A perNodeCachePath with hardly any room."""
    place = node.prefix / "small"
    place.mkdir()
    subprocess.run(["mount", *words, place], check=True)
    place.chmod(0o1733)
    node.configure(perNodeCachePath=place)
    yield place
    subprocess.run(["umount", place], check=True)
    place.rmdir()


@pytest.fixture
def small_disk(node):
    yield from mounted_small(node, "-t", "tmpfs", "-o", "size=32m", "tmpfs")


@pytest.fixture
def reserved_disk(node):
    """One of which half is for root alone."""
    file = node.prefix / "small.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "50", file, "32M"], check=True)
    yield from mounted_small(node, "-o", "loop", file)
    file.unlink()


def test_a_disk_without_room_for_the_start_is_one_sentence(node, small_disk):
    (small_disk / "fill").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))

    said = refusal(node, CACHE)

    assert f"cannot write to perNodeCachePath {small_disk}: No space left on device" in said


def test_what_is_kept_for_root_is_not_for_caches(node, reserved_disk):
    left = os.statvfs(reserved_disk)
    (reserved_disk / "fill").write_bytes(bytes(left.f_bavail * left.f_bsize))
    assert os.statvfs(reserved_disk).f_bfree * left.f_bsize > 8 << 20

    said = refusal(node, CACHE)

    assert f"perNodeCachePath {reserved_disk}: No space left on device" in said


def test_a_disk_that_fills_up_fails_the_program_and_nothing_else(node, small_disk):
    script = "/bin/busybox dd if=/dev/zero of=/mnt/big bs=1M count=100 conv=fsync; echo $?"

    done = node.run(CACHE, "sh", "-c", script)

    assert done.stdout == "1\n"
    assert list(small_disk.iterdir()) == []


# The template


@pytest.fixture
def mkfs(node, caches):
    """A mkfs.xfs of the site's that counts its runs; `.text` is what comes before the real one."""

    class Program:
        path = node.prefix / "mkfs"
        log = node.prefix / "mkfs.log"

        def write(self, before=""):
            self.path.write_text(
                f'#!/bin/sh\necho "$(id -u) $*" >> {self.log}\n{before}\nexec mkfs.xfs "$@"\n'
            )
            self.path.chmod(0o755)

        @property
        def runs(self):
            return self.log.read_text().splitlines() if self.log.exists() else []

    program = Program()
    program.write()
    node.configure(perNodeCachePath=caches, mkfsXfsPath=program.path)
    yield program
    program.path.unlink(missing_ok=True)
    program.log.unlink(missing_ok=True)


def test_mkfs_runs_once_for_each_size(node, mkfs, new_size):
    for _ in range(3):
        assert node.run(f"-V/x:/mnt:perNodeCache=size={new_size}", "true").returncode == 0

    assert len(mkfs.runs) == 1


def test_mkfs_runs_once_for_launches_that_begin_together(node, mkfs, new_size):
    launches = [node.start(f"-V/x:/mnt:perNodeCache=size={new_size}", "true") for _ in range(10)]

    for launch in launches:
        assert launch.communicate(timeout=60) == ("", "")
    assert len(mkfs.runs) == 1


def test_mkfs_is_given_memory_of_roots_and_nothing_of_the_users(node, mkfs, new_size):
    mkfs.write(before=f'for word; do last=$word; done; readlink "$last" >> {mkfs.log}')

    node.run(f"-V/x:/mnt:perNodeCache=size={new_size}", "true")

    who, what = mkfs.runs
    assert who.startswith("0 ")
    assert what == "/memfd:xfs (deleted)"


def test_another_mkfs_makes_another_template(node, mkfs, new_size):
    words = (f"-V/x:/mnt:perNodeCache=size={new_size}", "true")
    node.run(*words)
    mkfs.write(before="# a newer version")

    assert node.run(*words).returncode == 0
    assert len(mkfs.runs) == 2


def test_a_template_that_is_damaged_is_made_anew(node, mkfs, new_size):
    words = (f"-V/x:/mnt:perNodeCache=size={new_size}", "true")
    node.run(*words)
    (template,) = TEMPLATES.glob(f"*-{new_size}-*")
    with template.open("r+b") as file:
        file.write(bytes(4096))

    assert node.run(*words).returncode == 0
    assert node.run(*words).returncode == 0
    assert len(mkfs.runs) == 2


def test_no_cache_is_made_on_a_filesystem_that_a_user_serves(node, caches):
    """Whoever serves the file behind a cache can change what the kernel has mounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40777,user_id={ALICE},group_id={ALICE},allow_other"
    mounted = syscalls._mount(b"fuse", bytes(caches), b"fuse", syscalls.MS_NOSUID, options.encode())
    syscalls.checked(mounted, "fuse")
    try:
        done = node.run(CACHE, "true", user=BOB)
    finally:
        os.close(device)
        syscalls.detach(str(caches))

    assert done.returncode == 1
    assert f"perNodeCachePath {caches} is on a filesystem that a user has mounted" in done.stderr


def test_no_template_is_so_large_that_a_few_would_fill_run():
    """Sixteen sizes near the largest, which any user may ask for, made 600 MB in /run."""
    sizes = (xfs.LARGEST, 8 << 40)
    try:
        for size in sizes:
            os.close(xfs.open_empty(size, "/usr/sbin/mkfs.xfs"))
        kept = [list(TEMPLATES.glob(f"*-{size}-*")) for size in sizes]
        assert [len(paths) for paths in kept] == [0, 1]
        assert kept[1][0].stat().st_blocks * 512 <= 1 << 20
    finally:
        for size in sizes:
            for path in TEMPLATES.glob(f"*-{size}-*"):
                path.unlink()


def test_templates_are_few_and_roots_alone(node, caches):
    sizes = [MINIMUM + 4096 * (number + 1) for number in range(18)]
    for size in sizes:
        assert node.run(f"-V/x:/mnt:perNodeCache=size={size}", "true").returncode == 0

    found = list(TEMPLATES.glob("xfs*"))
    assert len(found) <= 16
    assert {(path.stat().st_mode & 0o777, path.stat().st_uid) for path in found} == {(0o600, 0)}
    assert TEMPLATES.stat().st_mode & 0o777 == 0o700
    assert any(f"-{sizes[-1]}-" in path.name for path in found)


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ("echo no luck >&2; exit 3", "mkfs.xfs failed with status 3: no luck"),
        ("exit 0", "mkfs.xfs failed with status 0: it gave no reason"),
        ("kill -9 $$", "mkfs.xfs was ended by signal 9"),
    ],
)
def test_a_mkfs_that_fails_leaves_nothing(node, mkfs, new_size, before, sentence):
    mkfs.write(before=before)

    said = refusal(node, f"-V/x:/mnt:perNodeCache=size={new_size}")

    assert f"cannot make an XFS filesystem of {new_size} bytes: {sentence}" in said
    assert list(TEMPLATES.glob(f"*-{new_size}-*")) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: path.chmod(0o777), "is writable by others than root"),
        (lambda path: os.chown(path, ALICE, ALICE), "belongs to user"),
        (lambda path: path.chmod(0o644), "is not executable"),
    ],
)
def test_a_mkfs_that_root_cannot_rely_on_is_not_run(node, mkfs, new_size, spoil, sentence):
    spoil(mkfs.path)

    assert sentence in refusal(node, f"-V/x:/mnt:perNodeCache=size={new_size}")
    assert mkfs.runs == []
