# SPDX-License-Identifier: BSD-3-Clause
"""Rules 10, 15 and 24: names that change while Shifter looks at what they mean.

The attacker is a process of the user's that exchanges two names as fast as the kernel does it. Each
race is run twice: in this process, where the very functions of the runtime meet it some ten
thousand times, and by launches of the installed program.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import image as images
from shifter_runtime import syscalls, trust
from shifter_runtime.identity import Identity
from shifter_runtime.operations.root import MountImage, MountRoot
from shifter_runtime.operations.tree import BindSite
from shifter_runtime.operations.volume import BindVolume
from tests.hostile_images import picture
from tests.integration.attacks.conftest import in_own_mounts, rounds
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root

# Times that a function of the runtime meets the attacker.
TIMES = 100_000 if "SHIFTER_ATTACK_ROUNDS" in os.environ else 10_000
MOUNTS = TIMES // 5

ALICE_AS_ROOT_SEES_HER = Identity(
    uid=ALICE, gid=ALICE, groups=[ALICE], name="alice", gecos="", home="/", shell="/bin/sh",
    group_names=[("alice", ALICE)],
)  # fmt: skip


@pytest.fixture
def open_images(node):
    """The site made a mistake: alice may change names in imagePath, by her group."""
    os.chown(node.images, 0, ALICE)
    node.images.chmod(0o775)
    yield node.images
    os.chown(node.images, 0, 0)
    node.images.chmod(0o755)


def add_evil_image(node) -> Path:
    """An image of alice's own making, beside the good one."""
    good = node.images / f"{IMAGE_ID}.squashfs"
    kept = good.with_name("kept")
    good.rename(kept)
    node.add_image(lambda tree: (tree / "evil").touch())
    evil = node.images / "evil.squashfs"
    good.rename(evil)
    kept.rename(good)
    os.chown(evil, ALICE, ALICE)
    return evil


@pytest.mark.attack(15)
@pytest.mark.parametrize("kind", ["file", "link", "hard link"])
def test_no_image_but_a_trusted_one_is_ever_opened(node, open_images, swapping, kind):
    good = node.images / f"{IMAGE_ID}.squashfs"
    evil = add_evil_image(node)
    other = node.images / "other"
    if kind == "link":
        other.symlink_to(evil.name)
        os.chown(other, ALICE, ALICE, follow_symlinks=False)
    elif kind == "hard link":
        os.link(evil, other)
    else:
        other = evil
    config = configs.parse(node.config.read_text(), str(node.config))
    wanted = good.stat().st_ino
    opened = refused = 0

    with swapping(good, other):
        for _ in range(TIMES):
            try:
                image = images.open_image(IMAGE_ID, config)
            except ShifterError:
                refused += 1
                continue
            assert os.fstat(image.fd).st_ino == wanted
            os.close(image.fd)
            opened += 1

    assert opened and refused  # both were met


@pytest.mark.attack(15)
def test_no_launch_mounts_what_a_user_made(node, open_images, swapping):
    good = node.images / f"{IMAGE_ID}.squashfs"
    evil = add_evil_image(node)

    with swapping(good, evil):
        seen = [node.run("ls", "/", user=BOB) for _ in range(rounds(100))]

    assert not any("evil" in done.stdout for done in seen)
    assert all(done.returncode == 0 or done.stderr.startswith("shifter: ") for done in seen)


@pytest.mark.attack(15)
def test_who_can_write_to_the_directory_of_images_can_use_none(node, open_images):
    """A file of root's with content of hers (a dump, say) could get the name of an image."""
    done = node.run("true")

    assert done.returncode == 1
    assert f"imagePath {node.images} is writable by you" in done.stderr
    assert node.run("true", user=BOB).returncode == 0
    assert "writable by you" in node.run("true", user=BOB, groups=(ALICE,)).stderr


@pytest.fixture
def home(node):
    """Alice's: `a` is a directory, `b` a link that leads to where she must not come."""
    home = node.shared / str(ALICE)
    (home / "a").mkdir()
    (home / "mine").mkdir()
    (home / "mine/mark").touch()
    for path in home.iterdir():
        os.chown(path, ALICE, ALICE)
    secret = node.shared / str(BOB) / "inner"
    secret.mkdir(mode=0o755)
    (secret / "secret").write_text("bob's\n")
    return home


@pytest.fixture
def link_of_alice(home):
    def link(target: str) -> Path:
        path = home / "b"
        path.symlink_to(target)
        os.chown(path, ALICE, ALICE, follow_symlinks=False)
        return path

    return link


SOURCES = [f"/shared/{BOB}/inner", f"../{BOB}/inner", "/etc", "/proc/1/root/root", "../../../root"]


@pytest.mark.attack(24)
@pytest.mark.parametrize("target", SOURCES)
def test_no_volume_shows_what_its_user_cannot_reach(node, home, link_of_alice, swapping, target):
    link = link_of_alice(target)
    seen = set()

    with swapping(home / "a", link):
        for _ in range(rounds(60)):
            done = node.run(f"-V/shared/{ALICE}/a:/data", "ls", "-a", "/data")
            seen.update(done.stdout.split())

    # The container's own /etc is there for everybody to read.
    known = {".", "..", *(os.listdir(node.prefix / "etc/files") if target == "/etc" else ())}
    of_etc = {"os-release", "hosts", "resolv.conf", "host.conf", "shadow", "mtab"}
    assert seen <= known | (of_etc if target == "/etc" else set())


@pytest.mark.attack(24)
@pytest.mark.parametrize("target", ["/etc", "/var", "/proc", "/dev", "/opt/udiImage"])
def test_no_volume_covers_what_is_shifters(node, home, link_of_alice, swapping, target):
    link = link_of_alice(target)

    with swapping(home / "a", link):
        for _ in range(rounds(60)):
            volume = f"-V/shared/{ALICE}/mine:/shared/{ALICE}/a"
            done = node.run(volume, "sh", "-c", f"ls -d {target}/mark; id -un")
            assert done.stdout in ("", "alice\n"), done
            assert done.returncode == 0 or done.stderr.startswith("shifter: ")


def make_udi(node):
    """A container's root like a launch's, in the mount namespace of this process."""
    config = configs.parse(node.config.read_text(), str(node.config))
    image = images.open_image(IMAGE_ID, config)
    MountImage(image, config.loop_mount).execute()
    udi = MountRoot(config.loop_mount, config.udi_mount, "tmpfs").execute()
    BindSite(str(node.shared), "/shared").execute(udi)
    return udi


def newest_mount() -> tuple[str, str]:
    """Root within its filesystem, and mount point, of what was mounted last."""
    line = Path("/proc/self/mountinfo").read_text().splitlines()[-1].split()
    return line[3], line[4]


@pytest.mark.attack(24)
def test_thousands_of_mounts_show_only_what_their_user_can_reach(
    node, home, link_of_alice, swapping
):
    link = link_of_alice(f"/shared/{BOB}/inner")
    wanted = (home / "a").stat().st_ino
    volume = BindVolume(f"/shared/{ALICE}/a", "/data", ALICE_AS_ROOT_SEES_HER, read_only=False)

    def race():
        udi = make_udi(node)
        count = {"mounted": 0, "refused": 0}
        for _ in range(MOUNTS):
            try:
                volume.execute(udi)
            except ShifterError:
                count["refused"] += 1
                continue
            assert os.stat(udi.place + "/data").st_ino == wanted
            syscalls.detach(udi.place + "/data")
            count["mounted"] += 1
        return count

    with swapping(home / "a", link):
        count = in_own_mounts(race)

    assert all(count.values())  # both were met


@pytest.mark.attack(24)
def test_thousands_of_mounts_lie_only_where_their_user_may_mount(
    node, home, link_of_alice, swapping
):
    link = link_of_alice("/etc")
    place = f"/shared/{ALICE}/a"
    volume = BindVolume(f"/shared/{ALICE}/mine", place, ALICE_AS_ROOT_SEES_HER, read_only=False)

    def race():
        udi = make_udi(node)
        allowed = {f"{udi.place}/shared/{ALICE}/{name}" for name in ("a", "b")}
        kept = open_descriptors()
        count = {"mounted": 0, "refused": 0}
        for _ in range(MOUNTS):
            try:
                volume.execute(udi)
            except (ShifterError, FileNotFoundError):
                # A launch ends here, and with it what it has open.
                for fd in open_descriptors() - kept:
                    with contextlib.suppress(OSError):  # that of the listing
                        os.close(fd)
                count["refused"] += 1
                continue
            root, point = newest_mount()
            assert root.endswith("/mine") and point in allowed, (root, point)
            detach_newest(udi)
            count["mounted"] += 1
        return count

    with swapping(home / "a", link):
        count = in_own_mounts(race)

    assert all(count.values())  # both were met


def open_descriptors() -> set[int]:
    return set(map(int, os.listdir("/proc/self/fd")))


def detach_newest(udi) -> None:
    """By name, as soon as the name is that of the mount: it goes along with the directory."""
    _, point = newest_mount()
    while newest_mount()[1].startswith(f"{udi.place}/shared/"):
        try:
            os.stat(point)
            if not os.path.islink(point):
                subprocess.run(["umount", "--no-canonicalize", point], stderr=subprocess.DEVNULL)
        except OSError:
            pass
        _, point = newest_mount()


@pytest.mark.attack(10)
def test_no_configuration_but_roots_is_read_where_a_user_may_change_names(node, swapping):
    """The directory of udiRoot.conf, or one above it, is open to alice: nothing there counts."""
    evil = node.config.with_name("evil.conf")
    evil.write_text(node.config.read_text() + "siteEnv = TAKEN=1\n")
    os.chown(evil, ALICE, ALICE)
    node.config.parent.chmod(0o777)
    try:
        with swapping(node.config, evil):
            seen = [node.run("env") for _ in range(rounds(60))]
    finally:
        node.config.parent.chmod(0o755)
        # Either may have either name by now.
        evil.unlink()
        node.config.unlink()

    assert all(done.returncode == 1 and "TAKEN" not in done.stdout for done in seen)


@pytest.mark.attack(10)
def test_no_file_of_a_users_is_ever_read_in_the_place_of_roots(node, swapping):
    """In a sticky directory, she can change what is hers, but never what is root's."""
    directory = node.prefix / "sticky"
    directory.mkdir()
    directory.chmod(0o1777)
    good, evil, mine = directory / "good", directory / "evil", directory / "mine"
    for path in (good, evil, mine):
        path.mkdir()
        (path / "text").write_text(path.name)
    for path in (evil, mine):
        os.chown(path, ALICE, ALICE)
        os.chown(path / "text", ALICE, ALICE)
    read = set()
    try:
        with swapping(evil, mine):
            for _ in range(TIMES // 10):
                for path in (good, evil, mine):
                    with contextlib.suppress(ShifterError):
                        read.add(trust.read(str(path / "text")))
    finally:
        shutil.rmtree(directory)

    assert read == {"good"}


@pytest.mark.attack(15)
def test_mount_points_that_a_user_can_replace_bring_no_mount_and_no_file_elsewhere(
    node, outside, swapping
):
    """The site made a mistake: udiMount lies in a directory of alice's."""
    home = node.shared / str(ALICE)
    (home / "udi").mkdir()
    (home / "link").symlink_to(outside)
    for path in home.iterdir():
        os.chown(path, ALICE, ALICE, follow_symlinks=False)
    node.configure(udiMount=home / "udi")
    before = picture(outside)

    def race():
        for _ in range(MOUNTS // 4):
            with contextlib.suppress(ShifterError, OSError):
                udi = MountRoot(str(node.prefix), str(home / "udi"), "tmpfs").execute()
                os.close(udi.root)
            while str(node.prefix) in newest_mount()[1]:
                subprocess.run(["umount", "--lazy", "--no-canonicalize", newest_mount()[1]])

    with swapping(home / "udi", home / "link"):
        for _ in range(rounds(60)):
            node.run("true")
        in_own_mounts(race)

    assert picture(outside) == before


@pytest.mark.attack(15)
def test_who_renames_without_a_pause_keeps_nobody_else_from_his_container(node, swapping):
    """While anything is renamed, the kernel says of `..` in a container that it cannot tell."""
    link = "data/" * 3 + "../" * 3 + "data"
    node.add_image(
        lambda tree: (
            (tree / "data/data/data").mkdir(parents=True) or (tree / "link").symlink_to(link)
        )
    )
    names = [node.shared / str(BOB) / name for name in ("one", "other")]
    for name in names:
        name.mkdir()
        os.chown(name, BOB, BOB)

    with swapping(*names, user=BOB):
        launches = [node.run(f"--volume=/shared/{ALICE}:/link/x", "true") for _ in range(20)]

    assert {done.stderr for done in launches} == {""}
