# SPDX-License-Identifier: BSD-3-Clause
"""The processes that load the plugin belong to Slurm: they are left as they were, and go on."""

from __future__ import annotations

import signal

import pytest

from tests.spank.jobs import ENVIRONMENT, IMAGE_ID, prolog, step, submit
from tests.spank.mock import Script

pytestmark = pytest.mark.root

PLACE = (
    *("descriptor", "signal", "children", "umask", "directory", "ids"),
    *("namespace", "privileges"),
)
OPTIONS = [("image", "docker:x:1"), ("volume", "/a:/b"), ("volume", "/c:/d"), ("module", "m")]
ALL = ("enable_ccm=1", "enable_sshd=1", "pull_at_submit=1", "setup_timeout=2", "extern_cgroup=1")
SUBMISSION_ANSWER = f"printf 'SHIFTER_IMAGETYPE=id\\0SHIFTER_IMAGE={IMAGE_ID}\\0'"

LIVES = {
    "sbatch": lambda: submit(*OPTIONS, plugstack=ALL),
    "srun": lambda: submit(*OPTIONS, plugstack=ALL, context="local"),
    "prolog": lambda: prolog(*ALL),
    "prolog and epilog": lambda: prolog(*ALL, hooks=("job_prolog", "job_epilog")),
    "step": lambda: step(*OPTIONS, plugstack=ALL, tasks=2),
}
PROGRAMS = {
    "succeed": SUBMISSION_ANSWER,
    "fail": "echo no >&2; exit 1",
    "are killed": "kill -9 $$",
    "leave a child": f"sleep 300 & {SUBMISSION_ANSWER}",
    "write much": "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2",
    "close all": "exec >&- 2>&- <&-; exit 0",
}


def equip(site, program):
    site.submission(program)
    site.setup_root(program.partition(SUBMISSION_ANSWER)[0] or "exit 0")
    site.unsetup_root("exit 0")


def looks(seen):
    """What was there at each look, in order."""
    found, last = [], []
    for record in seen.records:
        if record[0] in PLACE:
            last.append(record)
        elif last:
            found.append(last)
            last = []
    return [*found, last] if last else found


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_a_process_of_slurm_s_is_as_it_was_when_programs(site, life, program):
    equip(site, program)
    script = Script("error").add("look", "process")
    script.extend(life())

    seen = site.run(script, environment=ENVIRONMENT).require_sound()

    first, last = looks(seen)[0], looks(seen)[-1]
    assert first == last
    assert ("children", "none", "") in last


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_a_host_that_ignores_its_children_s_ends_loses_none(site, life):
    equip(site, SUBMISSION_ANSWER)
    script = Script("error").add("ignore", signal.SIGCHLD)
    script.extend(life())

    seen = site.run(script, environment=ENVIRONMENT).require_sound()

    assert {value for hook, value in seen.of("return")} == {"0"}
    assert ("17", "ignored") in seen.of("signal")


@pytest.mark.parametrize("descriptors", range(4, 14))
@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_a_host_without_descriptors_left_is_told_and_not_ended(site, life, descriptors):
    equip(site, SUBMISSION_ANSWER)
    script = Script("error").add("limit", "nofile", descriptors)
    script.extend(life())

    seen = site.run(script, environment=ENVIRONMENT)

    assert [value for hook, value in seen.of("return") if hook.startswith("job_")] == (
        ["0"] * sum(hook.startswith("job_") for hook, _ in seen.of("return"))
    )
    seen.require_sound()


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_no_memory_at_any_point_ends_no_process_of_slurm_s(site, life):
    """Each allocation is refused once, with all after it, until there are no more of them."""
    equip(site, SUBMISSION_ANSWER)
    refused = True
    for number in range(1, 400):
        script = Script("error").add("fail-allocation", number)
        script.extend(life())

        seen = site.run(script, environment=ENVIRONMENT).require_sound()

        prologs = {value for hook, value in seen.of("return") if hook.startswith("job_")}
        assert prologs <= {"0"}
        refused = bool(seen.of("refused"))
        if not refused:
            break
        submitted = [value for hook, value in seen.of("return") if hook == "init_post_opt"]
        if submitted == ["-1"]:
            assert seen.said() or seen.stderr
    assert not refused
    assert number > 2 or not seen.of("callback")


def test_a_host_that_may_start_no_process_goes_on(site):
    equip(site, SUBMISSION_ANSWER)
    script = submit(*OPTIONS)

    seen = site.run(
        Script("error").add("ids", 65534, 65534).add("limit", "nproc", 0).extend(script)
    )

    assert seen.require_sound().returned("init_post_opt") == -1
    assert seen.said()


def test_every_life_leaves_the_host_s_standard_files_as_they_were(site):
    equip(site, SUBMISSION_ANSWER)

    seen = site.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert len(seen.of("descriptor")) == 4  # three, and the report
    assert looks(seen)[-1]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("life", ["sbatch", "prolog"])
def test_a_host_without_standard_files_gets_an_answer_all_the_same(site, life, closed):
    equip(site, SUBMISSION_ANSWER)
    site.setup_root("echo what >&2; echo else; exit 1")
    script = Script("error")
    for number in closed:
        script.add("close", number)

    seen = site.run(script.extend(LIVES[life]()), environment=ENVIRONMENT)

    if life == "sbatch":
        assert seen.returned("init_post_opt") == 0
    else:
        assert (site.jobs / "77").read_text().endswith(": what\n")
