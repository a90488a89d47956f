# SPDX-License-Identifier: BSD-3-Clause
"""The set-uid door: nothing that its caller controls bends what runs behind it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID

pytestmark = pytest.mark.root


def test_hostile_variables_have_no_effect_on_the_privileged_part(node):
    evil = node.shared / str(ALICE)
    (evil / "os.py").write_text("raise SystemExit('taken over')\n")
    (evil / "usercustomize.py").write_text("raise SystemExit('taken over')\n")
    hostile = {
        "LD_PRELOAD": f"{evil}/x.so",
        "LD_LIBRARY_PATH": str(evil),
        "LD_AUDIT": f"{evil}/x.so",
        "GLIBC_TUNABLES": "glibc.malloc.check=3",
        "GCONV_PATH": str(evil),
        "PYTHONPATH": str(evil),
        "PYTHONHOME": str(evil),
        "PYTHONINSPECT": "1",
        "PYTHONSTARTUP": f"{evil}/os.py",
        "TMPDIR": str(evil),
        "IFS": "/",
        "PATH": str(evil),
    }

    done = node.run("id", "-u", env=hostile, cwd=evil)

    assert (done.returncode, done.stdout) == (0, f"{ALICE}\n")
    assert "taken over" not in done.stderr


def test_no_python_variable_is_lost_on_its_way_to_the_program(node):
    done = node.run("env", env={"PYTHONPATH": "/mine", "IFS": "x"})

    assert "PYTHONPATH=/mine\n" in done.stdout


def test_no_argument_at_all_is_refused_cleanly(node):
    # Since 5.18 the kernel turns an empty list of arguments into one empty argument.
    script = (
        "import ctypes, sys; "
        "ctypes.CDLL(None).execve(sys.argv[1].encode(), (ctypes.c_char_p * 1)(None), None)"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, node.launcher],
        user=ALICE, group=ALICE, extra_groups=[], capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "no image specified" in done.stderr


def test_a_hundred_thousand_options_are_handled(node):
    options = ["-eX=1"] * 100_000

    assert node.run(*options, "true").returncode == 0


def test_closed_standard_files_are_replaced_before_anything_is_opened(node):
    script = (
        "import os, sys; [os.close(fd) for fd in (0, 1, 2)]; "
        "os.execve(sys.argv[1], sys.argv[1:], {})"
    )
    report = node.shared / str(ALICE) / "report"
    inside = f"ls -l /proc/self/fd > /shared/{ALICE}/report"

    command = [node.launcher, f"--image=id:{IMAGE_ID}", "sh", "-c", inside]
    done = subprocess.run(
        ["/usr/bin/python3", "-c", script, *command],
        user=ALICE, group=ALICE, extra_groups=[], check=False, cwd="/",
    )  # fmt: skip

    assert done.returncode == 0
    lines = report.read_text().splitlines()
    opened = dict(line.split()[-3::2] for line in lines if " -> " in line)
    # glibc gives a set-uid program /dev/full where its standard input is missing.
    assert opened["0"] in ("/dev/full", "/dev/null")
    assert opened["2"] == "/dev/null"


def test_open_directories_do_not_leak_into_the_container(node):
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(root, True)
    try:
        done = node.run("ls", "/proc/self/fd", pass_fds=(root,))
    finally:
        os.close(root)

    # The fourth is the directory that ls itself reads.
    assert done.stdout.split() == ["0", "1", "2", "3"]


def test_the_descriptor_of_the_batch_system_is_kept(node):
    reading, writing = os.pipe()
    try:
        node.shell(
            f"echo from inside >&{writing}", pass_fds=(writing,), env={"PMI_FD": str(writing)}
        )
        os.close(writing)
        assert os.read(reading, 100) == b"from inside\n"
    finally:
        os.close(reading)


def test_root_is_refused(node):
    done = subprocess.run(
        [node.launcher, f"--image=id:{IMAGE_ID}", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "cannot be run as root" in done.stderr


def test_the_group_of_root_never_reaches_the_program(node):
    groups = node.run("id", "-G", groups=(0,)).stdout.split()

    assert groups == [str(ALICE)]


def test_a_user_whose_line_of_passwd_is_broken_is_refused_in_words(node):
    passwd = node.prefix / "etc/files/passwd"
    usual = passwd.read_text()
    passwd.write_text(usual + "odd:x:61003:::/:/bin/sh\n")
    try:
        assert "user id 61003 has no name on this node" in node.run("true", user=61003).stderr
    finally:
        passwd.write_text(usual)


def test_an_interrupted_start_ends_by_the_signal_whenever_that_comes(node):
    moments = random.Random(2)
    ends = []
    for _ in range(60):
        process = node.start("sleep", "10")
        time.sleep(moments.uniform(0.004, 0.02))
        process.send_signal(signal.SIGINT)
        ends.append((*process.communicate(), process.returncode))

    # Neither is the signal lost just before exec, nor does the interpreter say where it was.
    assert set(ends) == {("", "", -signal.SIGINT)}


def test_a_user_without_a_name_is_refused(node):
    done = node.run("true", user=61999)

    assert done.returncode == 1
    assert "user id 61999 has no name on this node" in done.stderr


def test_a_second_door_is_refused(node):
    link = node.prefix / "elsewhere"
    os.link(node.launcher, link)
    try:
        done = node.run("true", launcher=link)
    finally:
        link.unlink()

    assert done.returncode == 1
    assert f"started from elsewhere than {node.launcher}" in done.stderr


def test_a_launcher_that_lost_its_setuid_bit_says_so(node):
    copy = node.prefix / "copy"
    shutil.copyfile(node.launcher, copy)
    copy.chmod(0o755)
    try:
        done = node.run("true", launcher=copy)
    finally:
        copy.unlink()

    assert done.returncode == 1
    assert "is not installed setuid root" in done.stderr


def test_a_launch_in_a_container_is_told_to_start_outside(node):
    node.configure(siteFs=f"{node.prefix}:{node.prefix}")

    done = node.run(node.launcher, f"--image=id:{IMAGE_ID}", "true")

    assert (done.returncode, done.stderr) == (
        1,
        "shifter: cannot be started where programs may gain no privilege (no_new_privs), as in a "
        "container of Shifter's: start it outside\n",
    )


def test_the_root_of_a_user_namespace_is_refused_in_words(node):
    command = ["unshare", "--user", "--map-root-user", node.launcher, "true"]

    done = subprocess.run(
        command,
        user=ALICE,
        group=ALICE,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("shifter: ") and len(done.stderr.splitlines()) == 1
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("shifter: no image specified")


@pytest.mark.parametrize("limit", ["-f 0", "-n 3", "-v 20000"])
def test_tight_resource_limits_leave_nothing_behind(node, limit):
    command = f"ulimit {limit}; exec {node.launcher} --image=id:{IMAGE_ID} true"

    subprocess.run(
        ["/bin/sh", "-c", command],
        user=ALICE, group=ALICE, extra_groups=[], capture_output=True, check=False, timeout=30,
    )  # fmt: skip

    # What is asserted is that no mount and no loop device is left: see the fixture `node`.


def test_the_runtime_can_be_neither_traced_nor_signalled_by_its_user(node):
    slow = node.prefix / "slow/bin/shifterimg"
    slow.parent.mkdir(parents=True)
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    node.configure(udiRootPath=node.prefix / "slow")
    process = node.start("true", image="docker:any")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        while not children.read_text():  # it waits for shifterimg, and is still root
            time.sleep(0.01)
        for attempt in (f"open('/proc/{process.pid}/mem')", f"os.kill({process.pid}, 9)"):
            done = subprocess.run(
                ["/usr/bin/python3", "-c", f"import os; {attempt}"],
                user=ALICE, group=ALICE, extra_groups=[], capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            assert "PermissionError" in done.stderr
    finally:
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
        process.communicate()
        shutil.rmtree(node.prefix / "slow")


def test_a_directory_is_never_taken_for_the_batch_systems_descriptor(node):
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = node.run("ls", "/proc/self/fd", pass_fds=(root,), env={"PMI_FD": str(root)})
    finally:
        os.close(root)

    assert done.stdout.split() == ["0", "1", "2", "3"]
