# SPDX-License-Identifier: BSD-3-Clause
"""A node before and after a job: setupRoot and unsetupRoot run as root, and no node is drained."""

from __future__ import annotations

import os
import select
import time

import pytest

from tests.spank.jobs import (
    ENVIRONMENT,
    IMAGE_ID,
    JOB,
    PROLOG_ENVIRONMENT,
    WITH_IMAGE,
    epilog,
    prolog,
)
from tests.spank.mock import Script, end_session, started_program

pytestmark = pytest.mark.root


def kept(site):
    """What the job's tasks will be told: the kind, and the text."""
    path = site.jobs / JOB
    kind, _, text = (
        path.read_text(errors="surrogateescape").partition("\n") if path.exists() else ("",) * 3
    )
    return kind, text.strip()


def test_a_job_s_container_is_made_with_all_that_was_asked_for(node):
    asked = {
        "SPANK_SHIFTER_VOLUME": "/a:/b;/c:/d:ro",
        "SPANK_SHIFTER_MODULE": "mpich,gpu",
        "SPANK_SHIFTER_SSH_PUBKEY": "ssh-ed25519 AAAA alice",
    }

    seen = node.run(prolog("enable_sshd=1"), environment={**ENVIRONMENT, **asked}).require_sound()

    assert seen.returned("job_prolog") == 0
    program, *words = node.calls()[0]
    assert program == str(node.directory / "sbin/setupRoot")
    assert words[-3:] == ["--", "id", IMAGE_ID]
    assert set(words[:-3]) == {
        f"--job={JOB}", "--show", "--uid=65534", "--gid=65534", "--user=nobody",
        "--nodelist=n[1-2]", "--tasks-per-node=1(x2)", "--volume=/a:/b;/c:/d:ro",
        "--module=mpich,gpu", "--ssh-key=ssh-ed25519 AAAA alice", "--request=docker:ubuntu:24.04",
    }  # fmt: skip
    assert kept(node) == ("", "")


def test_a_job_without_image_costs_nothing_and_leaves_nothing(node):
    seen = node.run(
        prolog(hooks=("job_prolog", "job_epilog")), environment=PROLOG_ENVIRONMENT
    ).require_sound()

    assert (seen.returned("job_prolog"), seen.returned("job_epilog")) == (0, 0)
    assert not [call for call in node.calls() if "setupRoot" in call[0].split("/")]


def test_a_job_without_image_has_nothing_of_an_earlier_one_of_its_number(node):
    failed = (node.jobs / JOB, node.jobs / f"{JOB}.component")
    node.jobs.mkdir(parents=True, exist_ok=True)
    for path in failed:
        path.write_text("failed\nthe container of somebody else could not be prepared\n")

    seen = node.run(prolog(), environment=PROLOG_ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    assert [call[0].rpartition("/")[2] for call in node.calls()] == ["unsetupRoot"]
    assert not any(path.exists() for path in failed)


def test_the_program_runs_as_root_with_nothing_of_the_job_s(node):
    node.setup_root(
        "{ env; pwd; id -u; readlink /proc/$$/fd/0; ls /proc/$$/fd; ls -l /proc/$$/fd; umask; "
        f"grep SigIgn /proc/$$/status; }} >{node.directory / 'seen'}"
    )

    node.run(prolog(), environment={**ENVIRONMENT, "LD_LIBRARY_PATH": "/x"}).require_sound()

    seen = (node.directory / "seen").read_text()
    assert "SPANK" not in seen
    assert "SLURM" not in seen
    assert "LD_LIBRARY_PATH" not in seen
    assert "report" not in seen
    assert "\n/\n0\n/dev/null\n" in seen


FAILING = {
    "fails": ("echo 'shifter: image is gone' >&2; exit 1", "image is gone"),
    "says nothing": ("exit 1", ""),
    "is killed": ("kill -9 $$", ""),
    "is no program": ("exec /nonexistent/program", ""),
    "says too much": ("head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 1", "xxx"),
    "writes too much": ("head -c 10000000 /dev/zero; echo why >&2; exit 1", "why"),
    "says what a terminal obeys": ("printf 'a\\033[2Jb\\007' >&2; exit 1", "b"),
}


@pytest.mark.parametrize(("program", "why"), FAILING.values(), ids=FAILING)
def test_a_failure_is_kept_for_the_job_and_drains_no_node_when_setup_root(node, program, why):
    node.setup_root(program)

    seen = node.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    kind, text = kept(node)
    assert kind == "failed"
    assert why in text
    assert 0 < len(text) < 20_000
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text)
    modes = [path.stat().st_mode & 0o777 for path in (node.jobs, node.jobs / JOB)]
    assert modes == [0o700, 0o600]


def test_what_setup_root_says_when_it_succeeds_is_a_warning(node):
    node.setup_root("echo 'shifter: the port of sshd is taken' >&2")

    assert node.run(prolog(), environment=ENVIRONMENT).require_sound().returned("job_prolog") == 0

    assert kept(node)[0] == "warning"
    assert "the port of sshd is taken" in kept(node)[1]


def test_while_it_works_others_see_it(node):
    lock = f"{node.jobs}/{JOB}.prolog"
    node.setup_root(f"flock --shared --nonblock {lock} true; echo $? >{node.directory}/locked")

    node.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert (node.directory / "locked").read_text() == "1\n"
    assert not os.path.exists(lock)


def test_a_program_that_hangs_is_ended_with_all_that_it_started(node):
    state = node.directory / "state"
    node.setup_root(f"sleep 300 & echo $! >{state}.pid; wait")
    node.unsetup_root(f"grep ^State: /proc/$(cat {state}.pid)/status >{state}; exit 0")
    started = time.monotonic()

    seen = node.run(
        prolog("setup_timeout=1", hooks=("job_prolog", "job_epilog")), environment=ENVIRONMENT
    ).require_sound()

    assert {value for _, value in seen.of("return")} == {"0"}
    assert time.monotonic() - started < 30
    assert "was not done within 1 seconds" in seen.said()
    # Nobody may have waited for it yet.
    assert state.read_text() in ("", "State:\tZ (zombie)\n")


def test_a_prolog_that_is_killed_leaves_word_for_the_job_and_no_program(node):
    node.setup_root(f"echo $$ >{node.directory / 'pid'}; exec sleep 300")
    process = node.start(prolog(), environment=ENVIRONMENT)
    try:
        program = os.pidfd_open(started_program(process, node.directory / "pid"))
        process.kill()
        process.wait()

        assert select.select([program], [], [], 20)[0] == [program]
        os.close(program)
    finally:
        end_session(process)
    kind, text = kept(node)
    assert kind == "failed"
    assert "interrupted" in text


def test_what_holds_the_program_s_output_open_holds_no_prolog_up(node):
    node.setup_root(f"{node.log_call()}; sleep 300 &")

    seen = node.run(prolog(), environment=ENVIRONMENT, seconds=30).require_sound()

    assert seen.returned("job_prolog") == 0


def test_a_requeued_job_s_container_is_taken_down_and_made_anew(node):
    marker = node.directory / "there"
    marker.touch()
    node.setup_root(f"{node.log_call()}; [ ! -e {marker} ] || exit 3")
    node.unsetup_root(f"{node.log_call()}; rm {marker}")

    seen = node.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    assert [call[0].rpartition("/")[2] for call in node.calls()] == [
        *("setupRoot", "unsetupRoot", "setupRoot")
    ]
    assert node.calls()[1][1:] == [f"--job={JOB}"]
    assert kept(node)[0] != "failed"


def test_a_container_that_cannot_be_taken_down_is_a_failure_and_no_endless_loop(node):
    node.setup_root(f"{node.log_call()}; exit 3")

    assert node.run(prolog(), environment=ENVIRONMENT).require_sound().returned("job_prolog") == 0

    assert len(node.calls()) == 3
    assert kept(node)[0] == "failed"


FORGED = {
    "quotes": "'\"`$(touch x)`;|&",
    "newlines": "a\nfailed\nb",
    "option": "--show",
    "not UTF-8": "\udcff\udc80",
    "64 kB": "x" * 65_536,
    "100 kB": "x" * 100_000,
    "format": "%n%s%n",
    "up": "../../../etc/shadow",
}


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_what_a_user_forges_is_words_after_the_rule_or_a_failure_of_the_job(node, value):
    forged = {
        name: value
        for name in (
            *WITH_IMAGE, "SPANK_SHIFTER_VOLUME", "SPANK_SHIFTER_MODULE",
            "SPANK_SHIFTER_SSH_PUBKEY", "SPANK_SLURM_JOB_ID", "SPANK_SLURM_JOB_UID",
            "SPANK__SLURM_SPANK_OPTION_shifter_volume", "SPANK__SLURM_SPANK_OPTION_shifter_ccm",
        )
    }  # fmt: skip

    seen = node.run(prolog("enable_sshd=1"), environment={**PROLOG_ENVIRONMENT, **forged})

    assert seen.require_sound().returned("job_prolog") == 0
    for call in node.calls():
        assert call[-3] == "--"
        assert [word for word in call if word.startswith("--uid")] == ["--uid=65534"]
        assert [word for word in call if word.startswith("--job")] == [f"--job={JOB}"]
        allowed = ("--job=", "--show", "--uid=", "--gid=", "--user=", "--nodelist=", "--request=",
                   "--tasks-per-node=", "--volume=", "--module=", "--ssh-key=")  # fmt: skip
        assert all(word.startswith(allowed) for word in call[1:-3])
    if not node.calls():
        assert kept(node)[0] == "failed"
    assert os.listdir(node.directory / "run") in ([], ["jobs"])


def test_the_user_is_who_slurm_says_whatever_the_job_s_variables_say(node):
    forged = {"SPANK_SLURM_JOB_UID": "0", "SPANK_SLURM_JOB_GID": "0", "SPANK_SHIFTER_UID": "0"}

    node.run(prolog(), environment={**ENVIRONMENT, **forged}).require_sound()

    assert {"--uid=65534", "--gid=65534"} <= set(node.calls()[0])


def test_a_key_is_of_no_use_where_the_site_has_no_sshd(node):
    forged = {"SPANK_SHIFTER_SSH_PUBKEY": "ssh-ed25519 AAAA mallory"}

    node.run(prolog(), environment={**ENVIRONMENT, **forged}).require_sound()

    assert not [word for word in node.calls()[0] if "ssh-key" in word]


@pytest.mark.parametrize("times", [1, 2])
def test_an_epilog_takes_the_container_down_whether_or_not_there_was_a_prolog(node, times):
    (node.directory / "run/jobs").mkdir(mode=0o700)
    (node.jobs / JOB).write_text("failed\nshifter: why\n")
    script = prolog(hooks=("job_epilog",) * times)

    seen = node.run(script, environment=ENVIRONMENT).require_sound()

    assert [value for name, value in seen.of("return") if name == "job_epilog"] == ["0"] * times
    assert [call[1:] for call in node.calls()][0] == [f"--job={JOB}"]
    assert kept(node) == ("", "")


@pytest.mark.parametrize("program", ["exit 1", "kill -9 $$", "head -c 9999999 /dev/zero >&2"])
def test_an_epilog_never_drains_the_node(node, program):
    node.unsetup_root(program)

    assert node.run(epilog(), environment=ENVIRONMENT).require_sound().returned("job_epilog") == 0


def test_an_epilog_whose_program_hangs_ends(node):
    node.unsetup_root("sleep 300")

    seen = node.run(epilog("setup_timeout=1"), environment=ENVIRONMENT, seconds=100)

    assert seen.require_sound().returned("job_epilog") == 0


@pytest.mark.parametrize("context", ["slurmd", "error"])
def test_in_other_contexts_nothing_happens(node, context):
    script = Script(context).add("hook", "init").add("hook", "slurmd_exit").add("hook", "exit")

    seen = node.run(script, environment=ENVIRONMENT).require_sound()

    assert {value for _, value in seen.of("return")} <= {"0"}
    assert node.calls() == []
    assert not node.jobs.exists()


@pytest.mark.parametrize(
    "damage", ["jobs is a file", "jobs is a link", "file is a link", "file is a directory"]
)
def test_what_lies_in_the_way_of_the_job_s_file_is_not_followed(node, damage):
    victim = node.directory / "victim"
    victim.write_text("untouched\n")
    if damage == "jobs is a file":
        node.jobs.write_text("")
    elif damage == "jobs is a link":
        (node.directory / "elsewhere").mkdir()
        node.jobs.symlink_to(node.directory / "elsewhere")
    else:
        node.jobs.mkdir(mode=0o700)
        (node.jobs / JOB).symlink_to(victim) if "link" in damage else (node.jobs / JOB).mkdir()
    node.setup_root("exit 1")

    seen = node.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    assert victim.read_text() == "untouched\n"
