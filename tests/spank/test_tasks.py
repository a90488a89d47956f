# SPDX-License-Identifier: BSD-3-Clause
"""Tasks on a node: they hear why there is no container, and nothing else is done to them."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.spank.jobs import EXTERN_STEP, IMAGE_ID, JOB, UID, step
from tests.spank.mock import Script

pytestmark = pytest.mark.root

IMAGE = ("image", f"id:{IMAGE_ID}")
ENVIRONMENT = {"SLURM_SPANK_SHIFTER_IMAGE": IMAGE_ID, "SLURM_SPANK_SHIFTER_IMAGETYPE": "id"}


def leave_report(site, text, *, mode=0o600, owner=0):
    site.jobs.mkdir(mode=0o700, exist_ok=True)
    path = site.jobs / JOB
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    os.chown(path, owner, owner)
    return path


def admitted(seen):
    """What task_init_privileged returned, for each task."""
    return [int(value) for hook, value in seen.of("return") if hook == "task_init_privileged"]


def test_a_task_is_let_in_and_told_the_job(site):
    seen = site.run(step(IMAGE, environment=ENVIRONMENT)).require_sound()

    assert admitted(seen) == [0]
    assert seen.variables("job")["SHIFTER_JOB_ID"] == JOB
    assert seen.said() == ""


def test_why_there_is_no_container_is_said_by_each_task_which_fails(site):
    leave_report(site, "failed\nshifter: image is gone\nsecond line\n")

    seen = site.run(step(IMAGE, environment=ENVIRONMENT, tasks=3)).require_sound()

    assert admitted(seen) == [-1, -1, -1]
    assert seen.said().count("image is gone") == 3
    assert "second line" in seen.said()


def test_a_warning_is_said_once_and_lets_all_tasks_run(site):
    leave_report(site, "warning\nshifter: the port of sshd is taken\n")

    first = site.run(step(IMAGE, environment=ENVIRONMENT, tasks=3)).require_sound()
    second = site.run(step(IMAGE, environment=ENVIRONMENT)).require_sound()

    assert admitted(first) == [0, 0, 0]
    assert first.said("error", "spank", "info").count("the port of sshd is taken") == 1
    assert "the port of sshd" not in second.said("error", "spank", "info")


def test_a_step_without_an_image_does_not_fail_for_a_container_s_sake(site):
    seen = site.run(step()).require_sound()

    assert admitted(seen) == [0]
    assert seen.said() == ""


@pytest.mark.parametrize(
    "text", ["", "\n", "failed", "failed\n", "fail", "warning\n", "x" * 9_999_999]
)
def test_a_damaged_report_is_read_with_care(site, text):
    leave_report(site, text)

    seen = site.run(step(IMAGE, environment=ENVIRONMENT)).require_sound()

    assert admitted(seen) == [-1 if text == "failed\n" else 0]
    assert len(seen.said()) < 20_000


def test_nothing_in_a_report_steers_a_terminal_or_a_format(site):
    leave_report(site, b"failed\nshifter: %n%s \x1b[2J\x07\r \xc2\x9b31m\xff\n")

    seen = site.run(step(IMAGE, environment=ENVIRONMENT)).require_sound()

    assert admitted(seen) == [-1]
    assert "%n%s" in seen.said()
    assert not any(ord(c) < 32 and c != "\n" for c in seen.said())
    assert "\x9b" not in seen.said()


def test_options_of_others_in_the_job_s_environment_are_not_taken_for_orders(site):
    hostile = {
        **ENVIRONMENT,
        "SHIFTER_JOB_ID": "1",
        "SLURM_SPANK_SHIFTER_IMAGE": "x" * 65_536,
        "_SLURM_SPANK_OPTION_shifter_image": "\n%n",
        "SHIFTER_CCM": "1",
        "SLURM_SPANK_SHIFTER_CCM": "1",
    }

    seen = site.run(step(IMAGE, environment=hostile)).require_sound()

    assert seen.variables("job")["SHIFTER_JOB_ID"] == JOB
    assert [hook for hook, value in seen.of("return") if value != "0"] == []
    assert seen.variables("job").keys() <= hostile.keys() | {
        *("SHIFTER_IMAGE", "SHIFTER_IMAGETYPE", "SHIFTER_IMAGEREQUEST", "SHIFTER_VOLUME"),
        *("SHIFTER_MODULE",),
    }


@pytest.mark.parametrize("size", [0, 1 << 16, 1 << 20])
def test_options_of_any_size_end_no_step_but_by_words(site, size):
    options = [("image", "x" * size), ("volume", "\x1b" * size), ("module", "%n" * (size // 2))]

    seen = site.run(step(*options)).require_sound()

    assert seen.returned("init_post_opt") == 0
    assert seen.returned("user_init") == 0


def test_the_extern_step_has_no_options_and_no_failure(site):
    leave_report(site, "failed\nwhy\n")
    script = step(number=EXTERN_STEP, plugstack=("extern_cgroup=1", "extern_setup=/nonexistent"))

    seen = site.run(script).require_sound()

    assert {name for name, value in seen.of("return") if value != "0"} <= {"task_init_privileged"}


@pytest.fixture
def container(site):
    """A mount namespace with a tree of its own as root, recorded as the container of the job."""
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "sh", "-ec",
         "mount -t tmpfs -o mode=755 in-the-container /mnt; echo ready; exec sleep 600"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("owner", ["0", "1", str(2**32 - 1), "-1", "x", "", "65534x"])
def test_with_ccm_nobody_enters_the_container_of_another(site, owner):
    directory = site.directory / "run/udi" / JOB
    directory.mkdir(parents=True)
    (directory / "namespace").touch()
    for name in ("record", "container"):
        (directory / name).write_text(f"shifter-udi 2\n{owner} 1 1 0\nroot\n\n")
    script = step(("ccm", ""), plugstack=("enable_ccm=1",), environment={"SHIFTER_CCM": "1"})

    seen = site.run(script).require_sound()

    assert admitted(seen) == [-1]
    assert seen.said()


def test_with_ccm_and_no_container_a_task_says_so_and_fails(site):
    script = step(("ccm", ""), plugstack=("enable_ccm=1",), environment={"SHIFTER_CCM": "1"})

    seen = site.run(script).require_sound()

    assert admitted(seen) == [-1]
    assert seen.said()
    assert UID


def test_tasks_wait_for_the_extern_step_s_set_up_and_not_for_ever(site):
    script = step(IMAGE, environment=ENVIRONMENT, plugstack=("extern_setup=/bin/true",))

    seen = site.run(script, seconds=30).require_sound()

    assert len(admitted(seen)) == 1


def test_a_process_that_is_no_task_is_left_as_it_was(site):
    script = Script("remote").add("hook", "slurmd_exit").add("hook", "exit").add("look", "process")

    seen = site.run(script).require_sound()

    assert {value for _, value in seen.of("return")} <= {"0"}
