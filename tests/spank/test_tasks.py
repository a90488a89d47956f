# SPDX-License-Identifier: BSD-3-Clause
"""Tasks on a node: they hear why there is no container, and nothing else is done to them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import pytest

from tests.integration.conftest import wait_until
from tests.spank.jobs import (
    IMAGE_ID,
    JOB,
    PROLOG_ENVIRONMENT,
    UID,
    WITH_IMAGE,
    extern_step,
    prolog,
    step,
)
from tests.spank.mock import Script, end_session, processes_of_session

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


def test_a_task_waits_for_a_prolog_that_is_still_at_work(site):
    """Slurm may start the script of a job anew, that it requeued, before its prolog has ended."""
    report = leave_report(site, "failed\nshifter: interrupted\n")
    with (site.jobs / f"{JOB}.prolog").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = site.start(step(IMAGE, environment=ENVIRONMENT))
        try:
            wait_until(lambda: _has_open(process, lock.name), what="a task that waits")
            report.unlink()
            fcntl.flock(lock, fcntl.LOCK_UN)
            process.wait(60)
        finally:
            end_session(process)

    assert admitted(site.seen(process).require_sound()) == [0]


def test_a_prolog_that_was_killed_holds_no_task_up(site):
    leave_report(site, "failed\nshifter: interrupted\n")
    (site.jobs / f"{JOB}.prolog").touch(mode=0o600)

    seen = site.run(step(IMAGE, environment=ENVIRONMENT)).require_sound()

    assert admitted(seen) == [-1]


def _has_open(process, path):
    """Whether it has, or one of its session: each task is a child."""
    directories = [Path(f"/proc/{pid}/fd") for pid in processes_of_session(process.pid)]
    with contextlib.suppress(FileNotFoundError):  # one of them has just ended, or closed a file
        return any(os.path.samefile(path, fd) for place in directories for fd in place.iterdir())
    return False


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


def test_the_extern_step_has_no_failure(site):
    leave_report(site, "failed\nwhy\n")

    seen = site.run(extern_step("extern_cgroup=1", "extern_setup=/nonexistent")).require_sound()

    assert {value for _, value in seen.of("return")} == {"0"}


def with_ccm(site, *, owner=UID, cwd="/tmp"):
    """A step of a --ccm job, with a container whose /mnt is empty."""
    directory = site.directory / "run/udi" / JOB
    directory.mkdir(parents=True)
    (directory / "namespace").touch()
    (directory / "record").write_text(f"shifter-udi 2\n{owner} 1 1 0\nnobody\n\n")
    script = Script("error").add("container", f"/run/shifter/udi/{JOB}/namespace", "/mnt")
    script.add("look", "process")
    plugstack, environment = ("enable_ccm=1",), {"SHIFTER_CCM": "1"}
    return script.extend(step(("ccm", ""), plugstack=plugstack, environment=environment))


def test_with_ccm_a_task_is_in_the_container_and_its_step_is_not(site):
    seen = site.run(with_ccm(site)).require_sound()

    assert admitted(seen) == [0], seen.said()
    outside, task, *later = [name for name, _ in seen.of("namespace")]
    assert task != outside
    assert set(later) == {outside}
    assert [name for name, _ in seen.of("privileges")][:2] == ["as usual", "none gained"]
    assert [name for name, _ in seen.of("directory")][1] == str(site.directory)
    assert [name for name, _ in seen.of("ids")][1] == "0:0:0:0"  # Slurm has yet to become the user


def test_with_ccm_a_directory_that_the_user_may_not_enter_is_left(site):
    site.directory.chmod(0o700)

    seen = site.run(with_ccm(site)).require_sound()

    assert admitted(seen) == [0], seen.said()
    assert [name for name, _ in seen.of("directory")][1] == "/tmp"


@pytest.mark.parametrize("owner", ["0", "1", str(2**32 - 1), "-1", "x", "", "65534x", "655340"])
def test_with_ccm_nobody_enters_the_container_of_another(site, owner):
    seen = site.run(with_ccm(site, owner=owner)).require_sound()

    assert admitted(seen) == [-1]
    assert seen.said()
    assert len({name for name, _ in seen.of("namespace")}) == 1


def test_with_ccm_and_no_container_a_task_says_so_and_fails(site):
    script = step(("ccm", ""), plugstack=("enable_ccm=1",), environment={"SHIFTER_CCM": "1"})

    seen = site.run(script).require_sound()

    assert admitted(seen) == [-1]
    assert seen.said()


def extern_set_up(site, program):
    """The extern step of a job with a container, and a program of the site's for it."""
    (site.directory / "run/udi" / JOB).mkdir(parents=True)
    path = site.program("sbin/extern_setup", program)
    return extern_step(f"extern_setup={path}", "setup_timeout=1")


def test_the_site_s_program_runs_once_in_the_extern_step_and_tasks_go_on_then(site):
    seen_by_it = site.directory / "seen"
    extern = extern_set_up(site, f"env >>{seen_by_it}; echo hello")
    plugstack = (f"extern_setup={site.directory}/sbin/extern_setup",)

    first = site.run(extern).require_sound()
    second = site.run(step(IMAGE, environment=ENVIRONMENT, plugstack=plugstack)).require_sound()

    assert "hello" in first.said()
    environment = dict(line.split("=", 1) for line in seen_by_it.read_text().splitlines())
    assert environment.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {
        *("SLURM_JOB_ID", "SHIFTER_NAMESPACE", "PATH")
    }
    assert environment["SHIFTER_NAMESPACE"] == f"/run/shifter/udi/{JOB}/namespace"
    assert admitted(second) == [0]
    assert second.said() == ""


@pytest.mark.parametrize("program", ["exit 1", "kill -9 $$", "sleep 300", "yes", "yes >&2"])
def test_a_site_s_program_that_fails_is_told_and_ends_no_step(site, program):
    seen = site.run(extern_set_up(site, program), seconds=30).require_sound()

    assert {value for _, value in seen.of("return")} == {"0"}
    assert "extern_setup" in seen.said()


def test_a_site_s_program_that_others_can_change_is_not_run(site):
    script = extern_set_up(site, f"touch {site.directory}/done")
    (site.directory / "sbin/extern_setup").chmod(0o777)

    seen = site.run(script).require_sound()

    assert not (site.directory / "done").exists()
    assert "extern_setup" in seen.said()


def test_a_job_without_container_waits_for_no_extern_step(site):
    script = step(IMAGE, environment=ENVIRONMENT, plugstack=("extern_setup=/bin/true",))

    assert admitted(site.run(script, seconds=5).require_sound()) == [0]


def test_a_task_waits_some_time_for_an_extern_step_that_never_comes_and_no_other_does(site):
    (site.directory / "run/udi" / JOB).mkdir(parents=True)
    script = step(IMAGE, environment=ENVIRONMENT, plugstack=("extern_cgroup=1",), tasks=3)

    seen = site.run(script, seconds=40).require_sound()

    assert admitted(seen) == [0, 0, 0]
    assert seen.said().count("extern step") == 1


def test_a_component_of_a_heterogeneous_job_has_its_own_image_in_a_common_step(site):
    site.setup_root("exit 0")
    before = {**PROLOG_ENVIRONMENT, **WITH_IMAGE, "SLURM_HET_JOB_ID": "76"}
    site.run(prolog(), environment=before).require_sound()
    leader_s = {"SLURM_JOB_ID": "76", "SHIFTER_IMAGE": "c" * 64, "SHIFTER_IMAGETYPE": "id"}

    seen = site.run(step(IMAGE, environment=leader_s)).require_sound()

    assert seen.variables("job")["SHIFTER_IMAGE"] == IMAGE_ID
    assert seen.variables("job")["SHIFTER_JOB_ID"] == JOB


def test_a_step_that_was_refused_and_started_all_the_same_fails(site):
    seen = site.run(step(environment={"SHIFTER_REFUSED": "1"})).require_sound()

    assert admitted(seen) == [-1]
    assert "refused" in seen.said()


def test_a_process_that_is_no_task_is_left_as_it_was(site):
    script = Script("remote").add("hook", "slurmd_exit").add("hook", "exit").add("look", "process")

    seen = site.run(script).require_sound()

    assert {value for _, value in seen.of("return")} <= {"0"}
