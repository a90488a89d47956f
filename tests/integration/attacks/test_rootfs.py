# SPDX-License-Identifier: BSD-3-Clause
"""Rules 18-22: whatever an image holds, the node stays as it is and the user a user."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from tests import hostile_images
from tests.hostile_images import PLACES, TRICKS, picture, put, things
from tests.integration.attacks.conftest import in_own_mounts
from tests.integration.runtime.node import ALICE, BOB

pytestmark = pytest.mark.root

THINGS = sorted(things(hostile_images.Path("/nowhere")))


@pytest.mark.attack(18)
@pytest.mark.parametrize("place", PLACES)
def test_no_thing_in_an_image_leads_a_launch_out_of_it(node, outside, place):
    """Each launch either runs, with the user's rights, or ends with one sentence."""
    makers = things(outside)
    before = picture(outside)
    odd = {}
    for number, (name, make) in enumerate(makers.items()):
        image_id = f"{number:064x}"
        # A directory is quicker made than a file; for those, see test_hostile_image.py.
        node.add_image(
            lambda tree, make=make: put(tree, place, make), image_id=image_id, format="VFS"
        )
        done = node.run("id", "-u", image=f"id:{image_id}")
        ran = (done.returncode, done.stdout, done.stderr) == (0, f"{ALICE}\n", "")
        refused = done.returncode in (1, 127) and done.stderr.startswith("shifter: ")
        if picture(outside) != before or not (ran or (refused and done.stderr.count("\n") == 1)):
            odd[name] = done

    assert not odd


@pytest.mark.attack(18)
@pytest.mark.parametrize("name", THINGS)
def test_no_thing_in_an_image_leads_a_volume_out_of_it(node, outside, name):
    make = things(outside)[name]
    node.add_image(lambda tree: put(tree, "door", make), format="VFS")
    mine = node.shared / str(ALICE)
    (mine / "file").write_text("mine\n")

    for target in ("/door", "/door/file", "/door/new", "/door/new/deeper", "/door/passwd"):
        node.run(f"-V/shared/{ALICE}:{target}", "true")
        node.run(f"-V/shared/{ALICE}/file:{target}", "true")
    # Read by way of a source, it would be the node's file.
    seen = node.run("-V/door:/data", "cat", "/data/file").stdout

    assert "of the node" not in seen


@pytest.mark.attack(18, 21)
@pytest.mark.parametrize("format", ["squashfs", "ext4", "VFS"])
@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_keeps_the_node_from_running_the_image_as_the_user(node, outside, trick, format):
    before = picture(outside)
    node.add_image(TRICKS[trick], format=format)

    # Without the name `sh` in the tree, nothing is to be run: that is busybox, whatever is removed.
    assert node.shell("id -u; test -c /dev/null && test -r /proc/self/status && echo whole") == (
        f"{ALICE}\nwhole\n"
    )
    assert picture(outside) == before


@pytest.mark.attack(19)
def test_devices_are_the_nodes_own(node):
    node.add_image(hostile_images.with_kernel_look_alikes)

    numbers = node.shell(
        "for x in null zero full random urandom tty; do stat -c %t:%T /dev/$x; done"
    )

    assert numbers.split() == ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]


@pytest.mark.attack(19, 21)
def test_device_nodes_in_an_image_open_for_nobody(node):
    node.add_image(hostile_images.with_devices)

    said = node.run("sh", "-c", "for x in /data/*; do (: <$x) 2>&1; done").stdout

    assert said.count("Permission denied") == 6 and said.count("\n") == 6


@pytest.mark.attack(20)
def test_proc_is_the_kernels_whatever_the_image_has_there(node):
    node.add_image(hostile_images.with_kernel_look_alikes)

    kinds = node.shell("stat -f -c %t /proc /sys /proc/self/attr /proc/sys/kernel")

    assert kinds.split() == ["9fa0", "62656572", "9fa0", "9fa0"]


@pytest.mark.attack(20)
def test_nothing_that_root_reads_comes_from_a_proc_of_the_image(node):
    """The number of capabilities, say: with 0 for the highest, most of them would be kept."""
    node.add_image(hostile_images.with_kernel_look_alikes)

    status = node.run("cat", "/proc/self/status").stdout

    assert "CapBnd:\t0000000000000000\n" in status


@pytest.mark.attack(21)
@pytest.mark.parametrize("format", ["squashfs", "ext4", "VFS"])
@pytest.mark.parametrize("program", ["suid", "sgid", "capable"])
def test_no_file_of_an_image_gives_a_privilege(node, program, format):
    node.add_image(hostile_images.with_setuid_programs, format=format)

    status = dict(
        line.split(":\t", 1)
        for line in node.run(f"busybox-{program}", "cat", "/proc/self/status").stdout.splitlines()
    )

    assert status["Uid"].split() == status["Gid"].split() == [str(ALICE)] * 4
    assert all(int(status[f"Cap{which}"], 16) == 0 for which in ("Prm", "Eff", "Amb", "Bnd"))


@pytest.mark.attack(21)
@pytest.mark.parametrize("format", ["squashfs", "VFS"])
def test_attributes_of_overlays_show_nothing_from_elsewhere(node, format):
    node.add_image(hostile_images.with_overlay_attributes, format=format)

    seen = node.shell("ls /tricks/*-redirect /tricks/*-origin; cat /tricks/*-metacopy; true")

    assert "passwd" not in seen and "root:" not in seen
    assert seen.count("inside") == 4


@pytest.mark.attack(21)
def test_whiteouts_in_an_image_hide_nothing_of_the_sites(node):
    node.add_image(lambda tree: put(tree, "etc/passwd", things(tree)["whiteout"]))

    assert "alice" in node.run("cat", "/etc/passwd").stdout


@pytest.mark.attack(22)
@pytest.mark.parametrize("flags", ["rec", "rec:slave", "rec:ro"])
def test_what_is_mounted_below_a_sites_directory_gives_no_privilege_either(node, flags):
    (node.shared / "below").mkdir()

    def launch() -> str:
        subprocess.run(["mount", "-t", "tmpfs", "below", node.shared / "below"], check=True)
        (node.shared / "below/deeper").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "deep", node.shared / "below/deeper"], check=True)
        for directory in ("below", "below/deeper"):
            place = node.shared / directory
            subprocess.run(["cp", "/bin/busybox", place / "busybox-suid"], check=True)
            (place / "busybox-suid").chmod(0o4755)
            os.mknod(place / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        return node.shell(
            "for d in /shared/below /shared/below/deeper; do $d/busybox-suid id -u;"
            " (: <$d/zero) 2>&1; done; cat /proc/mounts"
        )

    node.configure(siteFs=f"{node.shared}:/shared:{flags}")
    lines = in_own_mounts(launch).splitlines()

    assert lines[0] == lines[2] == str(ALICE)
    assert "Permission denied" in lines[1] and "Permission denied" in lines[3]
    below = [line.split() for line in lines[4:] if line.split()[1].startswith("/shared/below")]
    assert len(below) == 2
    for _, _, _, options, *_ in below:
        assert {"nosuid", "nodev"} <= set(options.split(","))


@pytest.mark.attack(18)
def test_nothing_of_the_image_is_run_while_root_is_at_work(node, outside):
    """Modules that the interpreter would load late, were it to look where the image now is."""

    def make(tree):
        text = f"open({str(outside / 'taken')!r}, 'w')\nopen('/shared/{BOB}/taken', 'w')\n"
        library = node.prefix / "lib/shifter"
        for module in [*library.rglob("*.py"), *_standard_library()]:
            place = tree / str(module).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    node.add_image(make)
    shared = node.shared / str(BOB)

    assert node.run("true").returncode == 0
    node.run("/no/such/program")
    node.run("--env-file=/no/such/file", "true")
    node.run("--entrypoint", "--workdir=/no/where", "true")
    assert list(shared.iterdir()) == []


def _standard_library():
    directory = hostile_images.Path(os.__file__).parent
    return [directory / f"{name}.py" for name in ("traceback", "linecache", "re", "codecs", "io")]
