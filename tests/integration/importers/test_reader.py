# SPDX-License-Identifier: BSD-3-Clause
"""The process that opens and reads what a user names, and users who mean to disturb it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from shifter_imagegw.importers import child
from shifter_imagegw.importers.child import running_as
from shifter_imagegw.importers.identity import Importer
from tests.integration.conftest import require_program, wait_until
from tests.integration.importers.conftest import ACCOUNT, ALICE, failure
from tests.integration.importers.trees import pack

FUSE = "/dev/fuse"
BECOMING = "+setuid,+setgid"
START_AND_END = f"""
import time
from shifter_imagegw.importers.child import running_as
from shifter_imagegw.importers.identity import Importer

def work(line):
    line.send({{}})
    time.sleep(600)

started = time.monotonic()
with running_as(Importer(uid={ALICE}, gid={ALICE}, groups=(), name="alice"), work) as line:
    line.receive()
print(time.monotonic() - started)
"""
START_PROGRAM = """
from shifter_imagegw.errors import ConversionError
from shifter_imagegw.run import run

print(run(["grep", "CapEff", "/proc/self/status"], failing=ConversionError))
"""


@contextlib.contextmanager
def served(image, place, *, by, options=""):
    """Have `image` mounted by a program that is a user's."""
    device = os.open(FUSE, os.O_RDWR)
    try:
        what = f"fd={device},rootmode=40755,user_id={by},group_id={by},ro,nosuid,nodev{options}"
        command = ["mount", "-i", "-t", "fuse", "-o", what, "test", place]
        subprocess.run(command, pass_fds=[device], check=True)
        command = [require_program("squashfuse"), "-f", image, f"/dev/fd/{device}"]
        program = subprocess.Popen(command, pass_fds=[device])
    finally:
        os.close(device)
    try:
        wait_until(lambda: os.listdir(place), what="the mount")
        yield
    finally:
        program.kill()
        program.wait()
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def mounted(home):
    """`with mounted(uid, options) as place`: a squashfs file, mounted by a user."""
    tree, place = home() / "packed", home() / "mounted"
    for directory in (tree, place):
        directory.mkdir(mode=0o755)
    (tree / "inner").write_bytes(os.urandom(3 << 20))
    image = pack(tree, home() / "outer.squashfs")

    @contextlib.contextmanager
    def mount(by, options=""):
        with served(image, place, by=by, options=options):
            yield place

    return mount


def test_a_program_of_a_users_is_never_waited_for(any_gateway, ask_of, mounted):
    with mounted(ALICE, ",allow_other") as place:
        for path in (place / "inner", place):
            assert "a program of a user's (FUSE)" in failure(ask_of(any_gateway, path))


def test_a_filesystem_that_the_site_mounted_is_like_any_other(any_gateway, ask_of, mounted):
    with mounted(0, ",allow_other") as place:
        assert ask_of(any_gateway, place)["status"] == "READY"


def test_a_user_can_neither_signal_nor_trace_who_reads_for_them():
    def work(line):
        line.send({"pid": os.getpid(), "uid": os.geteuid()})
        line.receive()

    with running_as(user(ALICE), work) as line:
        (message, _) = line.receive()
        signals = as_user(ALICE, "kill", "-STOP", str(message["pid"]))
        traces = as_user(ALICE, "cat", f"/proc/{message['pid']}/environ")

    assert message["uid"] == ALICE
    assert "Operation not permitted" in signals.stderr
    assert "Permission denied" in traces.stderr


def test_ids_that_the_kernel_takes_for_none_open_nothing():
    who = Importer(uid=0xFFFFFFFF, gid=65534, groups=(), name="none")
    with running_as(who, lambda line: line.send({"uid": os.geteuid()})) as line:
        (message, _) = line.receive()

    assert "whose ids are none" in message.get("error", ""), message


def test_who_may_become_others_may_end_them():
    """Without CAP_KILL, that is, and though the child does not end by itself."""
    capable = ["--inh-caps", BECOMING, "--ambient-caps", BECOMING]

    ended = as_user(ACCOUNT, sys.executable, "-c", START_AND_END, options=capable)

    assert float(ended.stdout) < child._GRACE, ended.stderr


def test_programs_that_are_started_are_not_given_what_becoming_others_takes():
    capable = ["--inh-caps", BECOMING, "--ambient-caps", BECOMING]

    said = as_user(ACCOUNT, sys.executable, "-c", START_PROGRAM, options=capable)

    assert said.stdout.split() == ["CapEff:", "0" * 16], said.stderr


def user(uid):
    return Importer(uid=uid, gid=uid, groups=(uid,), name=str(uid))


def as_user(uid, *command, options=()):
    prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *options]
    return subprocess.run([*prefix, *command], capture_output=True, text=True, check=False)
