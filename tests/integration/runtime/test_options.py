# SPDX-License-Identifier: BSD-3-Clause
"""What options do to a launch, where more than the command line is needed to tell."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, host_state

pytestmark = pytest.mark.root

SHIFTER_IMAGE = {"SHIFTER": f"id:{IMAGE_ID}"}


@pytest.fixture
def scripts(tmp_path_factory):
    """A directory of alice's that the container sees: below /tmp."""
    directory = tmp_path_factory.mktemp("scripts")
    for path in (directory, *directory.parents[:2]):
        path.chmod(0o755)
    os.chown(directory, ALICE, ALICE)
    return directory


def write_script(path, interpreter_line, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{interpreter_line}\n{body}\n")
    os.chown(path, ALICE, ALICE)
    path.chmod(0o755)
    return path


def run_script(path, *words, env=None):
    return subprocess.run(
        [path, *words], user=ALICE, group=ALICE, extra_groups=[], cwd="/", env=env or {},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_script_may_name_shifter_and_the_shell_that_reads_it(node, scripts):
    script = write_script(
        scripts / "job.sh", f"{node.launcher} /bin/sh", 'cat /etc/os-release; echo "$0" "$@"'
    )

    done = run_script(script, "a b", "c", env=SHIFTER_IMAGE)

    assert (done.returncode, done.stdout) == (0, f"ID=busybox\n{script} a b c\n")


def test_a_script_may_hold_options_in_its_first_line(node, scripts):
    line = f"{node.launcher} --image=id:{IMAGE_ID}\t--env=X=1 --unsetenv=Y  /bin/sh -e "
    script = write_script(scripts / "job.sh", line, 'echo $X${Y-} "$1"; false; echo no')

    done = run_script(script, "a b", env={"Y": "2"})

    assert (done.returncode, done.stdout) == (1, "1 a b\n")


@pytest.mark.parametrize("options", ["", f" --image=id:{IMAGE_ID}"])
def test_a_batch_script_is_read_where_no_container_sees_it(node, options):
    spool = node.shared / str(ALICE) / "spool"
    script = write_script(
        spool / "slurm_script", f"{node.launcher}{options} /bin/sh", 'read line; echo "$line" "$1"'
    )
    node.configure(siteFs=None)

    done = subprocess.run(
        [script, "a"], user=ALICE, group=ALICE, extra_groups=[], cwd="/", env=SHIFTER_IMAGE,
        input="from stdin\n", capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "from stdin a\n"), done.stderr


def test_a_value_with_blanks_is_one_word_whatever_file_follows(node, scripts):
    script = write_script(scripts / "job.sh", "/bin/sh -e", "echo $A")

    done = node.run("--env=A=1 /bin/sh", "sh", "-c", "echo $A")
    other = node.run("--env=A=1 -e", script, image=None, env=SHIFTER_IMAGE)

    assert done.stdout == "1 /bin/sh\n"
    assert other.stdout == "1 -e\n"


def test_the_first_line_of_a_script_that_the_user_may_not_read_is_not_looked_at(node, scripts):
    line = f"--image=id:{IMAGE_ID} /bin/sh"
    script = write_script(scripts / "slurm_script", f"{node.launcher} {line}", "echo run")
    os.chown(script, BOB, BOB)
    script.chmod(0o700)

    done = node.run(line, script, image=None)

    assert done.returncode == 1
    assert "is no image name" in done.stderr


def test_volatile_things_are_there_and_gone_with_the_program(node):
    options = ("--writable=8M", "--mount=tmpfs:/scratch:size=1M", "--no-mount=shared")
    script = "echo mine > /data/new; cat /data/new; ls /scratch; test -e /shared || echo gone"

    assert node.shell(script, *options) == "mine\ngone\n"
    assert node.run("cat", "/data/new").returncode == 1


def test_unsetenv_leaves_what_the_site_sets(node):
    node.configure(siteEnv="SITE=1")
    script = "echo ${MINE-none} ${IMAGE-none} ${SITE-none}"

    seen = node.shell(script, "--unsetenv=MINE,SITE", "--unsetenv=IMAGE", env={"MINE": "1"})

    assert seen == "none none 1\n"


def test_env_files_are_read_as_the_user_inside_the_container(node):
    secret = node.shared / str(BOB) / "secret"
    secret.write_text("SECRET=1\n")
    for number in (1, 2):
        (node.shared / f"vars{number}").write_text(f"A={number}\nB{number}=\n")

    done = node.run("-E", "--env-file=/shared/vars1", "--env-file=/shared/vars2", "env")
    refused = node.run(f"--env-file=/shared/{BOB}/secret", "env")
    outside = node.run(f"--env-file={node.shared}/vars1", "env")

    assert {"A=2", "B1=", "B2="} <= set(done.stdout.splitlines())
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Permission denied" in refused.stderr
    assert "No such file or directory" in outside.stderr


@pytest.mark.parametrize(
    "path", ["/shared", "/shared/none", "/shared/broken", "/shared/" + "x" * 300]
)
def test_an_env_file_that_is_none_is_refused_in_one_sentence(node, path):
    (node.shared / "broken").write_text("A=1\nnothing\n")

    done = node.run(f"--env-file={path}", "true")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert path in done.stderr


def test_a_dry_run_tells_all_and_mounts_nothing(node):
    done = node.run(
        *("--dry-run", "--json", "--writable=1G", "--volume=/shared:/data:ro", "-w/data"),
        *("--env=A=1", "true", "x"),
        env={"RTLD_X": "1", "KEPT": "1"},
    )

    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert told["image"]["id"] == IMAGE_ID
    assert (told["command"], told["workdir"]) == (["true", "x"], "/data")
    assert {"operation": "MountImage", "text": told["operations"][0]["text"]} in told["operations"]
    assert any(one["text"].startswith("bind /shared on /data") for one in told["operations"])
    assert told["environment"]["set"]["A"] == "1"
    assert told["environment"]["unset"] == ["RTLD_X"]
    assert host_state(node.prefix) == []


def test_times_of_all_steps_are_told_on_standard_error(node):
    done = node.run("--timing", "sh", "-c", "echo out")

    lines = done.stderr.splitlines()
    times = [float(line.split()[1]) for line in lines]
    assert done.stdout == "out\n"
    assert lines[-1].endswith(" ms  total")
    assert any("read udiRoot.conf" in line for line in lines)
    assert any(f"{IMAGE_ID}.squashfs" in line for line in lines)
    assert all(time >= 0 for time in times)
    assert abs(sum(times[:-1]) - times[-1]) < 0.1


def test_times_as_json_are_one_object_apart_from_the_plan(node):
    done = node.run("--timing", "--json", "--dry-run", "true")

    assert json.loads(done.stdout)["command"] == ["true"]
    told = json.loads(done.stderr)
    assert abs(sum(step["ms"] for step in told["steps"]) - told["total_ms"]) < 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--writable=lots"], "--writable must be a number above 0"),
        (["--mount=tmpfs:/proc/x"], "cannot mount at /proc/x"),
        (["--no-mount=shard"], "did you mean 'shared'?"),
        (["--json"], "add --dry-run or --timing"),
        (["--modle=x"], "did you mean '--module'?"),
        (["--workdir="], "--workdir= names nothing"),
        (["--volume=" + "x" * 70_000], "the value of --volume is too long"),
    ],
)
def test_a_refused_option_costs_one_sentence_and_nothing_else(node, words, message):
    done = node.run(*words, "true")

    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert host_state(node.prefix) == []
