# SPDX-License-Identifier: BSD-3-Clause
"""Rules 23, 24 and 28: what is mounted stays as it is, and where one stands is inside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.attacks.conftest import as_user, in_own_mounts
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, host_state

pytestmark = pytest.mark.root

# What a user can try in a namespace of his own, as its root; busybox has the commands.
AS_ROOT_OF_HIS_OWN = "unshare -U -r -m"


def with_commands(tree):
    for name in ("mount", "umount", "unshare", "mkdir", "grep", "chroot", "ln", "stat", "mknod",
                 "chmod", "readlink", "nsenter", "dd", "find", "head", "swapoff"):  # fmt: skip
        (tree / "bin" / name).symlink_to("busybox")


@pytest.fixture
def commands(node):
    node.add_image(with_commands)
    return node


@pytest.mark.attack(23)
@pytest.mark.parametrize("wrapper", ["", AS_ROOT_OF_HIS_OWN])
def test_nothing_that_is_mounted_can_be_taken_away(commands, wrapper):
    """Neither by the user nor, since they are locked to each other, by root of his namespace."""
    places = "/proc /sys /dev /dev/pts /tmp /var/tmp /shared /opt/udiImage /"
    script = f"for p in {places}; do umount $p 2>/dev/null; umount -l $p 2>/dev/null; done; true"
    count = "grep -c . /proc/self/mounts"

    before = commands.shell(f"{wrapper} sh -c '{count}'")
    after = commands.shell(f"{wrapper} sh -c '{script}; {count}'")

    assert after == before


@pytest.mark.attack(22, 23)
@pytest.mark.parametrize("wrapper", ["", AS_ROOT_OF_HIS_OWN])
@pytest.mark.parametrize("place", ["/", "/shared", "/proc", "/sys", "/tmp"])
def test_no_restriction_of_a_mount_can_be_lifted(commands, wrapper, place):
    commands.configure(siteFs=f"{commands.shared}:/shared:ro")
    options = [f"remount,bind,{word}" for word in ("rw", "suid", "dev", "exec", "rw,suid,dev,exec")]
    tries = "; ".join(f"mount -o {option} {place} 2>/dev/null" for option in options)
    show = f'grep " {place} " /proc/self/mounts'

    before = _options(commands.shell(f"{wrapper} sh -c '{show}'"))
    after = _options(
        commands.shell(f"{wrapper} sh -c '{tries}; mount -o remount,rw {place}; {show}'")
    )

    # None of those that were there is gone; `relatime` and its like are no restrictions.
    assert {"nosuid", "ro", "nodev", "noexec"} & before <= after


def _options(line: str) -> set[str]:
    return set(line.splitlines()[-1].split()[3].split(","))


@pytest.mark.attack(23)
def test_what_lies_below_a_mount_stays_hidden(commands):
    """A namespace of the user's gets the mounts as one: nothing can be looked at underneath."""
    commands.add_image(lambda tree: (with_commands(tree), (tree / "shared").mkdir(),
                                     (tree / "shared/of-image").touch()))  # fmt: skip
    script = "umount -l /shared; mkdir /tmp/x-$$; mount --bind / /tmp/x-$$; ls /tmp/x-$$/shared"

    done = commands.run("unshare", "-U", "-r", "-m", "sh", "-c", script)
    for directory in Path("/tmp").glob("x-[0-9]*"):
        directory.rmdir()

    assert "of-image" not in done.stdout


@pytest.mark.attack(23)
def test_mounts_of_the_users_own_namespace_are_seen_by_nobody_else(commands):
    commands.configure(siteFs=f"{commands.shared}:/shared:slave")
    mine = f"/shared/{ALICE}"
    before = Path("/proc/self/mountinfo").read_text().count(str(commands.prefix))

    script = f"mount -t tmpfs x {mine} && touch {mine}/inside && ls {mine}"
    seen = commands.shell(f"{AS_ROOT_OF_HIS_OWN} sh -c '{script}'")

    assert seen == "inside\n"
    assert Path("/proc/self/mountinfo").read_text().count(str(commands.prefix)) == before
    assert list((commands.shared / str(ALICE)).iterdir()) == []


@pytest.mark.attack(23)
@pytest.mark.parametrize(("flag", "is_seen"), [("private", False), ("slave", True)])
def test_what_the_node_mounts_later_is_seen_as_the_site_says(node, flag, is_seen):
    """And what is mounted while the container lives goes away for it, too."""
    below = node.shared / "below"
    below.mkdir()

    def launch() -> str:
        subprocess.run(["mount", "--bind", node.shared, node.shared], check=True)
        subprocess.run(["mount", "--make-shared", node.shared], check=True)
        reading, writing = os.pipe()
        process = node.start(
            "sh", "-c", f"echo ready; read x <&{reading}; ls /shared/below",
            pass_fds=(reading,), env={"PMI_FD": str(reading)},
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        subprocess.run(["mount", "-t", "tmpfs", "later", below], check=True)
        (below / "seen").touch()
        os.write(writing, b"\n")
        os.close(writing)
        os.close(reading)
        return process.communicate(timeout=20)[0]

    node.configure(siteFs=f"{node.shared}:/shared:{flag}")

    assert ("seen" in in_own_mounts(launch)) == is_seen


@pytest.mark.attack(21, 23)
def test_an_overlay_of_the_users_own_gives_nothing_either(commands):
    """Inside a namespace of his: over the image, whose root then seems his."""
    mine = f"/shared/{ALICE}"
    script = (
        f"mkdir -p {mine}/up {mine}/work {mine}/all && "
        f"mount -t overlay -o lowerdir=/,upperdir={mine}/up,workdir={mine}/work,userxattr"
        f" o {mine}/all && chmod 4755 {mine}/all/bin/busybox; cp /bin/busybox {mine}/busybox;"
        f" chmod 6755 {mine}/busybox; {mine}/busybox stat -c %u {mine}/busybox"
    )
    home = commands.shared / str(ALICE)

    commands.run("unshare", "-U", "-r", "-m", "sh", "-c", script)

    owners = {path.lstat().st_uid for path in home.rglob("*")}
    assert owners <= {ALICE}


SECRET_PLACES = [
    "/root", "/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/self/fd/0", "/proc/1/cwd",
    "/proc/1/fd/1", "/proc/thread-self/root", "/proc/self/task/1/root", "/proc/self/map_files/x",
]  # fmt: skip


@pytest.mark.attack(24)
@pytest.mark.parametrize("source", SECRET_PLACES)
def test_no_volume_begins_where_the_container_does_not(node, source):
    done = node.run(f"-V{source}:/data", "ls", "/data")

    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.attack(24)
@pytest.mark.parametrize("inner", ["inner", "inner/deeper", "../61002/inner", "link"])
def test_no_volume_begins_where_its_user_cannot_come(node, inner):
    closed = node.shared / str(BOB)
    (closed / "inner/deeper").mkdir(parents=True)
    (closed / "link").symlink_to("inner")
    (node.shared / str(ALICE) / "way").symlink_to(f"../{BOB}/inner")

    direct = node.run(f"-V/shared/{BOB}/{inner}:/data", "true")
    by_link = node.run(f"-V/shared/{ALICE}/way:/data", "true")

    assert direct.returncode == by_link.returncode == 1
    assert "Permission denied" in by_link.stderr


@pytest.mark.attack(24)
@pytest.mark.parametrize("closed_to", ["root", "others"])
def test_a_filesystem_of_somebody_elses_is_as_closed_inside_as_outside(node, closed_to):
    """FUSE: the kernel keeps everybody out but who mounted it, root included."""
    if shutil.which("squashfuse") is None:
        pytest.fail("squashfuse is missing: apt-get install squashfuse", pytrace=False)
    image = node.images / f"{IMAGE_ID}.squashfs"
    place = node.shared / str(BOB if closed_to == "others" else ALICE)
    place.chmod(0o755)
    image.chmod(0o644)

    def launch():
        # The mount is root's here, with another's ids: as by a fusermount of theirs.
        options = f"user_id={place.stat().st_uid},group_id={place.stat().st_gid},rootmode=40000"
        fuse = os.open("/dev/fuse", os.O_RDWR)
        subprocess.run(
            ["mount", "-i", "-t", "fuse", "nobody", place, "-o", f"fd={fuse},{options}"],
            pass_fds=(fuse,), check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        done = node.run(f"-V{'/shared/' + place.name}/x:/data", "true", user=ALICE if
                        closed_to == "others" else BOB)  # fmt: skip
        os.close(fuse)
        return done

    node.configure(siteFs=f"{node.shared}:/shared:rec")
    done = in_own_mounts(launch)
    image.chmod(0o600)

    assert done.returncode == 1
    assert done.stderr.startswith("shifter: ") and done.stderr.count("\n") == 1


@pytest.mark.attack(24)
@pytest.mark.parametrize("over", ["/data", "/shared", "/tmp", "/usr", "/home"])
def test_a_volume_may_cover_what_is_not_shifters_and_only_for_its_user(node, over):
    mark = node.shared / str(ALICE) / "mark"
    mark.touch()

    assert node.shell(f"ls {over}", f"-V/shared/{ALICE}:{over}") == "mark\n"
    assert "mark" not in os.listdir(node.shared)
    assert host_state(node.prefix) == [] or "mark" not in node.shell(f"ls {over}; true")


WHERE = "readlink /proc/self/cwd; pwd; ls -d . >/dev/null && echo there"


@pytest.mark.attack(28)
def test_a_directory_that_the_container_lacks_is_left_for_its_root(commands):
    done = commands.run("sh", "-c", WHERE, cwd=str(commands.images))

    assert done.stdout == "/\n/\nthere\n"
    assert f"Failed to switch to working dir: {commands.images}" in done.stderr


@pytest.mark.attack(28)
def test_a_directory_that_was_removed_is_left_for_the_root(commands):
    code = (
        "import os, sys\n"
        f"os.makedirs('{commands.shared}/{ALICE}/gone')\n"
        f"os.chdir('{commands.shared}/{ALICE}/gone')\n"
        f"os.rmdir('{commands.shared}/{ALICE}/gone')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )

    said = as_user(code, commands.launcher, f"--image=id:{IMAGE_ID}", "sh", "-c", WHERE)

    assert said.endswith("/\n/\nthere\n")


@pytest.mark.attack(28)
@pytest.mark.parametrize(
    "directory",
    [
        "..",
        "../../../..",
        "/proc/self/root",
        "/proc/1/cwd",
        "/proc/self/fd/3",
        "/..",
        "\n",
        "x" * 300,
    ],
)
def test_no_directory_that_is_asked_for_is_outside(commands, directory):
    done = commands.run(f"--workdir={directory}", "sh", "-c", "ls / | head -3; " + WHERE)

    assert str(commands.prefix) not in done.stdout
    assert done.returncode in (0, 1)


@pytest.mark.attack(28)
def test_who_walks_up_stays_inside(commands):
    script = "cd ../../../../../../..; readlink /proc/self/cwd; ls -d bin etc"

    assert commands.shell(script, cwd="/tmp") == "/\nbin\netc\n"


@pytest.mark.attack(28)
def test_a_second_root_inside_the_first_leads_nowhere(commands):
    """The classic way out of chroot(2), by a user who is root in a namespace of his own."""
    mine = f"/shared/{ALICE}"
    up = "../" * 30
    script = (
        f"mkdir {mine}/jail; cd /; chroot {mine}/jail /bin/true; cd {up}; ls -d opt/*; ls -d bin"
    )

    seen = commands.shell(f"unshare -U -r sh -c '{script}; true' 2>/dev/null")

    assert str(commands.prefix) not in seen
    assert seen.endswith("bin\n")


@pytest.mark.attack(28)
def test_no_mount_of_the_nodes_and_no_descriptor_of_its_root_is_left(commands):
    seen = commands.shell("cat /proc/self/mounts; ls -l /proc/self/fd | grep -v ' 3 '")

    places = {line.split()[1] for line in seen.splitlines() if line.count(" ") == 5}
    assert places and not any(place.startswith(str(commands.prefix)) for place in places)
    assert " -> /\n" not in seen
