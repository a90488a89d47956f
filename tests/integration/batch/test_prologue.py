# SPDX-License-Identifier: BSD-3-Clause
"""shifter-prologue and shifter-epilogue, as any batch system may run them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID

pytestmark = pytest.mark.root

JOB = ("--job=12", "--user=alice")
IMAGE = f"--image=id:{IMAGE_ID}"
OTHER_ID = "b" * 64

HOSTILE = [
    "'", '"', "$(touch {mark})", "`touch {mark}`", "; touch {mark}", "a\nb", "--dry-run",
    "id:../../etc/passwd", f"id:{IMAGE_ID}\nx", "local:/", "x" * (64 << 10), "\udcff", "%s%n",
]  # fmt: skip


def test_launches_of_the_job_join_what_was_prepared(scheduler, batch):
    done = scheduler.prologue(*JOB, IMAGE)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert batch.joined(env={"SHIFTER_JOB_ID": "12"}) == "12"
    assert batch.run("ls", batch.node.prefix / "udi/var/shifterConfig.json").returncode == 0

    done = scheduler.epilogue("--job=12")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert batch.is_clean()


def test_volumes_modules_and_nodes_are_the_jobs(scheduler, batch, node):
    node.configure(module_greet_siteEnv="GREETING=hello", module_other_siteEnv="OTHER=1")
    (node.shared / str(ALICE) / "word").write_text("seen\n")
    volumes = [f"--volume=/shared/{ALICE}:/data", f"--volume=/shared/{ALICE}:/more:ro"]

    done = scheduler.prologue(
        *JOB, IMAGE, *volumes, "--module=greet,other", "--nodes=node1/2 node2/1"
    )

    assert done.stderr == ""
    asked = [*volumes, "--module=greet,other"]
    assert batch.joined(*asked, job="12") == "12"
    seen = batch.shifter(
        *asked, "sh", "-c", "cat /more/word /var/hostsfile; echo $GREETING", job="12"
    )
    assert seen.stdout == "seen\nnode1\nnode1\nnode2\nhello\n"


def test_variables_of_the_job_say_what_it_wants(scheduler, batch):
    volume = f"/shared/{ALICE}:/data"
    wanted = {"SHIFTER": f"id:{IMAGE_ID}", "SHIFTER_VOLUME": volume}

    scheduler.prologue(*JOB, *(f"--variable={name}={text}" for name, text in wanted.items()))
    scheduler.prologue("--job=13", "--uid", str(BOB), "--environment", env=wanted)

    assert batch.joined(f"--volume={volume}", job="12") == "12"
    assert batch.kept() == ["12", "13"]


def test_what_the_site_says_goes_before_the_jobs_variables(scheduler, batch):
    done = scheduler.prologue(*JOB, IMAGE, f"--variable=SHIFTER=id:{OTHER_ID}")

    assert done.stderr == ""
    assert batch.joined(job="12") == "12"


@pytest.mark.parametrize("variable", [None, "SHIFTER=/opt/shifter/bin/shifter", "SHIFTER_IMAGE="])
def test_a_job_that_names_no_image_costs_nothing(scheduler, batch, variable):
    words = [] if variable is None else [f"--variable={variable}"]

    done = scheduler.prologue(*JOB, *words, "--fail-status=1", env={"SHIFTER": f"id:{IMAGE_ID}"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert batch.kept() == []


def test_a_job_that_starts_again_has_a_new_container(scheduler, batch):
    scheduler.prologue(*JOB, IMAGE)

    done = scheduler.prologue(*JOB, IMAGE, f"--volume=/shared/{ALICE}:/data", "--fail-status=1")

    assert done.returncode == 0
    assert batch.joined(f"--volume=/shared/{ALICE}:/data", job="12") == "12"
    assert batch.joined(job="12") is None


def test_an_epilogue_may_come_without_a_prologue_and_twice(scheduler, batch):
    alone = scheduler.epilogue("--job=12", "--fail-status=1")
    scheduler.prologue(*JOB, IMAGE)
    twice = [scheduler.epilogue("--job=12", "--fail-status=1") for _ in range(2)]

    assert [(done.returncode, done.stderr) for done in (alone, *twice)] == [(0, "")] * 3
    assert batch.is_clean()


def test_an_epilogue_leaves_other_jobs_alone(scheduler, batch):
    scheduler.prologue("--job=12", "--task=3", "--user=alice", IMAGE)
    scheduler.prologue("--job=12", "--task=4", "--user=alice", IMAGE)

    scheduler.epilogue("--job=12", "--task=3")

    assert batch.kept() == ["12.4"]
    assert batch.joined(env={"LSB_JOBID": "12", "LSB_JOBINDEX": "4"}) == "12.4"


@pytest.mark.parametrize(("words", "status"), [((), 0), (("--fail-status=100",), 100)])
def test_a_missing_image_fails_the_job_only_where_the_site_wants_it(
    scheduler, batch, words, status
):
    done = scheduler.prologue(*words, *JOB, f"--image=id:{OTHER_ID}")

    assert done.returncode == status
    why, what = done.stderr.splitlines()
    assert why.startswith("setupRoot: ")
    assert OTHER_ID in why
    assert what == (
        f"shifter-prologue: the container of job 12 (id:{OTHER_ID}) could not be prepared on "
        "node1: each launch there builds its own"
    )
    assert batch.is_clean()


def test_a_launch_says_itself_what_could_not_be_prepared(scheduler, batch):
    scheduler.prologue(*JOB, f"--image=id:{OTHER_ID}")

    done = batch.shifter("true", job="12", image=OTHER_ID)

    assert done.returncode == 1
    assert done.stderr.startswith("shifter: ")


def test_what_takes_too_long_is_ended_with_all_it_started(scheduler, batch, node, tmp_path):
    mark = node.shared / "number"
    hook = node.prefix / "etc/slow_hook"
    hook.write_text(f"echo $$ >{mark}; sleep 1000")
    node.configure(sitePreMountHook=hook, hookTimeout=1000)

    done = scheduler.prologue(*JOB, IMAGE, "--timeout=3", "--fail-status=7")

    hook.unlink()
    assert done.returncode == 7
    assert "could not be prepared on node1 within 3 seconds" in done.stderr
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    assert batch.is_clean()

    node.configure()
    assert scheduler.prologue(*JOB, IMAGE, "--fail-status=7").returncode == 0


@pytest.mark.munge
def test_a_gateway_that_does_not_answer_keeps_no_job_waiting(scheduler, batch, node, munged):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        node.configure(imageGateway=f"http://127.0.0.1:{port}", mungeSocketPath=munged)

        done = scheduler.prologue(*JOB, "--image=docker:x:1", "--timeout=5", "--fail-status=7")

        connection, _ = silent.accept()  # it was asked
        with connection:
            connection.settimeout(10)
            while connection.recv(4096):  # and whoever asked is gone
                pass
    assert done.returncode == 7
    assert "(docker:x:1) could not be prepared on node1 within 5 seconds" in done.stderr
    assert batch.is_clean()


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["SHIFTER", "SHIFTER_VOLUME", "SHIFTER_MODULE"])
def test_text_of_a_users_is_never_more_than_text(scheduler, batch, node, name, text):
    mark = node.prefix / "mark"
    wanted = {"SHIFTER": f"id:{IMAGE_ID}", name: text.format(mark=mark)}

    done = scheduler.prologue(*JOB, "--environment", "--fail-status=5", env=wanted)

    # What begins like no type of image is no image: people use that name for other things.
    is_ignored = name == "SHIFTER" and text.partition(":")[0] not in ("id", "local")
    assert done.returncode == (0 if is_ignored else 5)
    assert len(done.stderr) < 70 << 10
    assert all(line.startswith(("shifter-", "setupRoot: ")) for line in done.stderr.splitlines())
    assert not mark.exists()
    assert batch.is_clean()


@pytest.mark.parametrize("job", ["", "node", "..", "../12", "a/b", "1\n", "1" * 129, "[1]", "-x"])
def test_what_names_no_job_is_refused(scheduler, batch, job):
    for program in (scheduler.prologue, scheduler.epilogue):
        done = program(f"--job={job}", "--fail-status=5")

        assert done.returncode == 5
        assert len(done.stderr.splitlines()) == 1

    assert batch.kept() == []


def test_nobody_is_taken_for_root_or_for_somebody_else(scheduler, batch):
    for words, problem in [
        (("--user=root",), "root"),
        (("--uid=0",), "--uid"),
        (("--user=alice", f"--uid={BOB}"), "is user id"),
        (("--user=alice", f"--gid={BOB}"), "is not in group"),
        (("--user=nobody-knows",), "is unknown"),
        ((), "a user is needed"),
    ]:
        done = scheduler.prologue("--job=12", *words, IMAGE, "--fail-status=5")

        assert done.returncode == 5
        assert problem in done.stderr

    assert batch.is_clean()


def test_a_file_of_nodes_is_read_as_the_user(scheduler, batch, node):
    secret = node.shared / "secret"
    secret.write_text("$6$secret\n")
    secret.chmod(0o600)
    own = node.shared / str(ALICE) / "machines"
    own.write_text("node1 slots=2\nnode2\n")

    done = scheduler.prologue(*JOB, IMAGE, f"--node-file={secret}", "--fail-status=5")

    assert done.returncode == 5
    problem = f"cannot read the list of nodes '{secret}' as user alice: Permission denied"
    assert problem in done.stderr
    assert "$6$" not in done.stderr

    scheduler.prologue(*JOB, IMAGE, f"--node-file={own}")

    seen = batch.shifter("cat", "/var/hostsfile", job="12")
    assert seen.stdout == "node1\nnode1\nnode2\n"


def test_a_jobs_key_counts_where_the_site_offers_sshd(scheduler, batch):
    wanted = [f"--variable=SHIFTER=id:{IMAGE_ID}", "--variable=SHIFTER_SSH_PUBKEY=ssh-ed25519 A b"]

    offered = scheduler.prologue(*JOB, *wanted, "--sshd", "--fail-status=5")

    assert offered.returncode == 5  # this node has none to start
    assert "optUdiImage" in offered.stderr

    done = scheduler.prologue(*JOB, *wanted, "--fail-status=5")

    assert (done.returncode, done.stderr) == (0, "")
    assert batch.joined(job="12") == "12"


def test_users_cannot_run_them(scheduler):
    for program in (scheduler.prologue, scheduler.epilogue):
        done = program("--job=12", user=ALICE)

        assert "must be run by root" in done.stderr


@pytest.mark.parametrize("program", ["prologue", "epilogue"])
def test_help_says_what_the_options_are(scheduler, program):
    done = getattr(scheduler, program)("--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: shifter-{program} --job=ID" in done.stdout


@pytest.mark.registry
@pytest.mark.munge
def test_an_image_is_looked_up_as_the_user(
    scheduler, batch, node, make_gateway, push_image, make_layer
):
    busybox = Path("/bin/busybox").read_bytes()
    tree = make_layer(("bin", None), ("bin/busybox", busybox), ("etc", None))
    pushed = push_image("batch/tool:1", [tree], {"Env": ["PATH=/bin"]})
    gateway = make_gateway()
    private = push_image("batch/private:1", [tree, make_layer(("own", None))])
    record = gateway.wait(pushed.reference)
    gateway.wait(private.reference, data=json.dumps({"allowed_uids": str(BOB)}))
    node.configure(
        imagePath=gateway.image_dir, imageGateway=gateway.url, system="cluster",
        mungeSocketPath=gateway.munge_socket, imageLookup="gateway",
    )  # fmt: skip

    done = scheduler.prologue(*JOB, f"--image={pushed.reference}", "--fail-status=5")

    assert (done.returncode, done.stderr) == (0, "")
    assert batch.joined(job="12", image=record["id"]) == "12"

    done = scheduler.prologue(
        "--job=13", "--user=alice", f"--image={private.reference}", "--fail-status=5"
    )

    assert done.returncode == 5
    assert "shifter-prologue: cannot use image 'docker:batch/private:1'" in done.stderr
    assert batch.kept() == ["12"]

    done = scheduler.prologue(
        "--job=14", "--user=bob", f"--image={private.reference}", "--fail-status=5"
    )

    assert (done.returncode, done.stderr) == (0, "")
    gateway.stop()
    launch = (node.launcher, "-v", f"--image={pushed.reference}", "busybox", "true")
    joined = batch.run(*launch, user=ALICE, env={"SHIFTER_JOB_ID": "12"})
    assert joined.returncode == 0, joined.stderr
    assert "joining the container prepared for job 12" in joined.stderr
