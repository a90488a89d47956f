# SPDX-License-Identifier: BSD-3-Clause
"""Rules 11, 13, 14, 16 and 17: which image a name means, and who may have it."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from shifter_common import tag_index
from tests.integration.attacks.conftest import as_user
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT

pytestmark = pytest.mark.root

SHELL = "$(touch {0});`touch {0}`;|touch {0}|&&touch {0}&"
ODD = [
    "../../etc/passwd", "..", ".", "/", "//", "/etc/passwd", "a/../../b", "a" * 4096, "a\nb", "\n",
    "x y", "-rf", "--help", "%2e%2e%2f", "ａ" * 64, "\u202e" + "a" * 63, "a" * 63 + "\u0430",
    SHELL, "'; touch x", '"', "\\", "\x7f", "\x01", "*", "?", "{a,b}", "~", "~root", ":", "::", "@",
    "docker", "docker:", "id:", "id:id:" + "a" * 64, "a" * 64 + ".squashfs", "a" * 64 + "/",
]  # fmt: skip


@pytest.mark.attack(13)
@pytest.mark.parametrize("image_type", ["id", "docker", "custom", "", "local"])
def test_nothing_odd_is_taken_for_an_image(node, outside, image_type):
    taken = outside / "taken"
    node.configure(imageLookup="index", allowLocalChroot=1)
    names = [name.replace("{0}", str(taken)) for name in ODD]
    if image_type == "local":
        names = [name for name in names if name not in ("/", "//")]  # the node's own, as he sees it

    odd = {}
    for name in names:
        done = node.run("true", image=f"{image_type}:{name}" if image_type else name)
        if done.returncode != 1 or "a defect of Shifter" in done.stderr or taken.exists():
            odd[name] = done

    assert not odd


@pytest.mark.attack(13)
def test_bytes_that_are_no_text_are_no_image(node):
    for name in (b"\xff", b"\xff" * 64, b"a" * 63 + b"\xc0\x80"):
        done = node.run(b"--image=id:" + name, "true", image=None)
        assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.attack(13)
@pytest.mark.parametrize(
    "answer", ["../" * 20 + "etc", "A" * 64, "a" * 65, "a" * 63, "a" * 64 + "\nb", SHELL, "", "\0"]
)
def test_an_answer_about_an_image_must_be_an_id(node, outside, answer):
    directory = node.prefix / "lying"
    (directory / "bin").mkdir(parents=True)
    (directory / "answer").write_text(answer.replace("{0}", str(outside / "taken")))
    program = f"#!/bin/sh\nexec cat {directory}/answer\n"
    (directory / "bin/shifterimg").write_text(program)
    (directory / "bin/shifterimg").chmod(0o755)
    node.configure(udiRootPath=directory, imageLookup="gateway")
    try:
        done = node.run("true", image="docker:any")
    finally:
        shutil.rmtree(directory)

    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.attack(11)
def test_nobody_can_choose_what_root_reads_or_runs(node):
    home = node.shared / str(ALICE)
    evil = home / "udiRoot.conf"
    evil.write_text(node.config.read_text() + "siteEnv = TAKEN=1\n")
    names = (
        *("UDIROOT_CONF", "SHIFTER_CONFIG", "SHIFTER_CONF", "CONFIG", "GWCONFIG", "SYSCONFDIR"),
        *("SHIFTER_SYSCONFDIR", "PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"),
    )
    (home / "pyvenv.cfg").write_text(f"home = {home}\n")

    done = node.run("env", env=dict.fromkeys(names, str(evil)), cwd=home)
    named = [node.run(f"{option}={evil}", "true") for option in ("--config", "--conf", "--udiRoot")]

    assert done.returncode == 0
    assert not any(line.startswith("TAKEN=") for line in done.stdout.splitlines())
    assert all(refused.returncode == 1 for refused in named)


@pytest.mark.attack(14)
@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/variables", True), ("/var2/x", True), ("/etcetera", True), ("/devices", True),
        ("/process", True), ("/system", True), ("/opt/udiImages", True), ("/opt/udi", True),
        ("/var/tmp", True), ("/var/tmp2", False), ("/var/tmp/x", False), ("/var/tm", False),
        ("/opt/udiImage/x", False), ("/opt/udiImage", False), ("/var/lib", False),
    ],
)  # fmt: skip
def test_a_prefix_is_whole_names(node, target, allowed):
    done = node.run(f"-V/shared/{ALICE}:{target}", "true")

    assert (done.returncode == 0) == allowed, done.stderr
    assert allowed or "reserved by Shifter" in done.stderr


@pytest.mark.attack(16)
@pytest.mark.parametrize("name", ["squashfs", "meta"])
@pytest.mark.parametrize("format", ["squashfs", "ext4"])
def test_no_byte_that_a_user_wrote_is_mounted(node, format, name):
    image = node.add_image(format=format)
    os.chown(image if name == "squashfs" else image.with_suffix(".meta"), ALICE, ALICE)

    done = node.run("true")

    assert done.returncode == 1
    assert f"belongs to user {ALICE}, who does not write images here" in done.stderr


@pytest.mark.attack(16)
@pytest.mark.parametrize("format", ["squashfs", "ext4"])
@pytest.mark.parametrize("size", [0, 1, 95, 96, 1024, 4096, 100_000])
def test_an_image_cut_off_anywhere_fails_in_one_sentence(node, format, size):
    image = node.add_image(format=format)
    os.truncate(image, size)

    done = node.run("true")

    assert done.returncode == 1
    assert done.stderr.startswith("shifter: cannot mount") and done.stderr.count("\n") == 1


@pytest.mark.attack(16)
def test_a_format_that_lies_is_no_way_to_another_filesystem_of_the_kernels(node):
    meta = node.images / f"{IMAGE_ID}.meta"
    image = node.images / f"{IMAGE_ID}.squashfs"
    for name in (
        "tmpfs",
        "proc",
        "overlay",
        "fuse",
        "nfs",
        "../squashfs",
        "squashfs,nosuid",
        "xfs",
    ):
        meta.write_text(f"FORMAT: {name}\n")
        shutil.copy2(image, node.images / f"{IMAGE_ID}.{name.replace('/', '_')}")
        assert node.run("true").returncode == 1, name


@pytest.fixture
def private(node):
    """An image that is bob's and the project's alone; alice knows its id."""
    node.add_image(lambda tree: (tree / "secret").write_text("bob's\n"),
                   meta=f"USERACL: {BOB}\nGROUPACL: {PROJECT}\n")  # fmt: skip
    return node


@pytest.mark.attack(17)
def test_to_know_the_id_of_a_private_image_is_not_to_have_it(private):
    done = private.run("cat", "/secret")

    assert (done.returncode, done.stdout) == (1, "")
    assert "permission denied to image" in done.stderr
    assert private.run("cat", "/secret", user=BOB).stdout == "bob's\n"


@pytest.mark.attack(17)
def test_the_file_of_a_private_image_cannot_be_read_directly(private):
    image = private.images / f"{IMAGE_ID}.squashfs"

    assert "PermissionError" in as_user(f"open({str(image)!r}, 'rb')")


@pytest.mark.attack(17)
def test_the_device_of_a_private_image_that_is_in_use_is_nobodys(private):
    """It is shared by all launches; its node in /dev is root's and the group disk's."""
    running = private.start("sleep", "20", user=BOB)
    try:
        code = (
            "import glob, os\n"
            "for path in glob.glob('/dev/loop*'):\n"
            "    try:\n        open(path, 'rb')\n        print(path)\n"
            "    except OSError:\n        pass\n"
        )
        assert as_user(code) == ""
    finally:
        running.kill()
        running.communicate()


@pytest.mark.attack(17)
def test_the_processes_of_a_user_do_not_lend_his_image_to_others(private):
    running = private.start("sleep", "20", user=BOB)
    try:
        while not _command(running.pid).startswith(b"sleep\0"):
            time.sleep(0.01)
        for attempt in ("os.listdir('/proc/{}/root')", "os.open('/proc/{}/ns/mnt', 0)",
                        "open('/proc/{}/root/secret').read()"):  # fmt: skip
            said = as_user(f"import os; print({attempt.format(running.pid)})")
            assert "PermissionError" in said
    finally:
        running.kill()
        running.communicate()


def _command(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


@pytest.mark.attack(17)
@pytest.mark.parametrize("lookup", ["index", "gateway index", "index gateway"])
def test_a_private_image_has_no_name_for_others(private, lookup):
    private.configure(imageLookup=lookup)
    entry = private.images / tag_index.path_of("docker", "secret:1")
    entry.parent.mkdir(parents=True, mode=0o700)
    entry.write_text(f"{IMAGE_ID}\n")
    entry.chmod(0o600)

    done = private.run("true", image="secret:1")

    assert done.returncode == 1 and IMAGE_ID not in done.stderr
    assert private.run("true", image="secret:1", user=BOB).returncode == 0


@pytest.mark.attack(17)
def test_who_has_left_the_group_has_lost_the_image(private):
    assert private.run("true", groups=(PROJECT,)).returncode == 0
    assert private.run("true").returncode == 1


@pytest.mark.attack(17)
@pytest.mark.parametrize(
    "lines", ["USERACL:\n", f"USERACL: {BOB}\n", f"GROUPACL: {PROJECT}\n", "USERACL: x\n",
              f"USERACL: {BOB}\nENV: X=\nUSERACL: {ALICE}\n", f"USERACL: {2**32 + ALICE}\n",
              f"USERACL: -{ALICE}\n", f"USERACL: {ALICE}{BOB}\n", f"USERACL: {BOB}\\\n {ALICE}\n"],
)  # fmt: skip
def test_no_odd_list_lets_more_in(node, lines):
    (node.images / f"{IMAGE_ID}.meta").write_text(f"FORMAT: squashfs\n{lines}")

    assert node.run("true").returncode == 1


@pytest.mark.attack(17)
@pytest.mark.parametrize(
    "variable", ["USER", "LOGNAME", "SUDO_UID", "SLURM_JOB_UID", "UID", "HOME"]
)
def test_no_variable_makes_another_user_of_the_caller(private, variable):
    for value in ("bob", str(BOB), "root", "0"):
        assert private.run("true", env={variable: value}).returncode == 1


@pytest.mark.attack(17)
@pytest.mark.parametrize("variable", ["SHIFTER_JOB_ID", "SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID"])
def test_no_name_of_a_job_leads_elsewhere(private, variable):
    for value in ("node", "..", "../..", "/", "x/../node", ".", "a" * 5000, "\n", "%s"):
        done = private.run("true", env={variable: value})
        assert "permission denied to image" in done.stderr
