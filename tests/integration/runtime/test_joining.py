# SPDX-License-Identifier: BSD-3-Clause
"""Which launches join a prepared container, which build one of their own, and who can do what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.runtime.batch import STATE, finish
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, host_state

pytestmark = pytest.mark.root


@pytest.mark.parametrize("name", ["SHIFTER_JOB_ID", "SLURM_JOB_ID", "SLURM_JOBID", "PBS_JOBID"])
def test_launches_of_a_job_share_one_namespace(batch, name):
    batch.setup("--job", "12")

    assert batch.joined(env={name: "12"}) == "12"
    assert batch.joined() is None  # no job, and no container for the node


@pytest.mark.parametrize(
    ("job", "variables"),
    [
        ("12", {"LSB_JOBID": "12", "LSB_JOBINDEX": "0"}),
        ("12.3", {"LSB_JOBID": "12", "LSB_JOBINDEX": "3"}),
        ("12", {"JOB_ID": "12", "SGE_TASK_ID": "undefined"}),
        ("12.3", {"JOB_ID": "12", "SGE_TASK_ID": "3"}),
        ("12[3].server", {"PBS_JOBID": "12[3].server"}),
    ],
)
def test_each_element_of_an_array_is_a_job_of_its_own(batch, job, variables):
    batch.setup("--job", job)

    assert batch.joined(env=variables) == job
    assert batch.joined(env={"JOB_ID": job}) is None  # a name that others use, too


def test_launches_join_the_container_of_the_node(batch):
    batch.setup()

    assert batch.joined() == "node"
    assert batch.joined(job="12") == "node"


def test_a_jobs_own_container_goes_before_the_nodes(batch):
    batch.setup()
    batch.setup("--job", "12")

    assert batch.joined(job="12") == "12"
    assert batch.joined() == "node"


def test_two_jobs_of_two_users_have_a_container_each(batch):
    batch.setup("--job", "12", "-u", "alice")
    batch.setup("--job", "13", "-u", "bob")

    assert batch.joined(job="12", user=ALICE) == "12"
    assert batch.joined(job="13", user=BOB) == "13"


def test_a_users_job_is_joined_by_nobody_else(batch):
    batch.setup("--job", "12", "-u", "alice")
    batch.setup("-u", "alice")

    assert batch.joined(job="12", user=BOB) is None
    assert batch.joined(user=BOB) is None
    whoami = batch.shifter("id", "-un", job="12", user=BOB).stdout
    assert whoami == "bob\n"


@pytest.mark.parametrize(
    ("prepared", "launched"),
    [
        (("-v", "/shared:/data"), ()),
        ((), ("--volume=/shared:/data",)),
        (("-v", "/shared:/data"), ("--volume=/shared:/data:ro",)),
        (("-v", "/shared:/data"), ("--volume=/shared:/mnt",)),
        (("-v", "/shared:/data"), ("--volume=/shared:/data;/shared:/mnt",)),
        (("-m", "one"), ("--module=other",)),
        (("-m", "one"), ("--module=none",)),
        ((), ("--module=one",)),
        ((), ("--writable",)),
        ((), ("--mount=tmpfs:/scratch",)),
        ((), ("--no-mount=/shared",)),
    ],
)
def test_a_launch_that_wants_something_else_builds_its_own(batch, prepared, launched):
    batch.node.configure(module_one_siteEnv="A=1", module_other_siteEnv="B=1")
    assert batch.setup("--job", "12", *prepared).returncode == 0

    assert batch.joined(*launched, job="12") is None


def test_another_image_builds_its_own(batch):
    batch.node.add_image(image_id="b" * 64)
    batch.setup("--job", "12")

    assert batch.joined(job="12", image="b" * 64) is None


@pytest.mark.parametrize(
    ("prepared", "launched"),
    [
        (("-v", "/shared:/a", "-v", "/shared:/b:ro"), ("--volume=/shared:/b:ro;/shared:/a",)),
        (("-v", "/shared:/b:ro;/shared:/a"), ("--volume=/shared:/a", "--volume=/shared:/b:ro")),
        (("-m", "one,other"), ("--module=one,other",)),
        (("-m", "none"), ("--module=none",)),
        ((), ("--env=A=1", "--workdir=/bin")),
    ],
)
def test_a_launch_that_wants_the_same_in_other_words_joins(batch, prepared, launched):
    batch.node.configure(module_one_siteEnv="A=1", module_other_siteEnv="B=1")
    assert batch.setup("--job", "12", *prepared).returncode == 0

    assert batch.joined(*launched, job="12") == "12"


def test_launches_of_a_job_share_what_they_write(batch):
    batch.node.configure(mountUdiRootWritable=1)
    batch.node.add_image(
        lambda tree: (tree / "open").mkdir(mode=0o777) or (tree / "open").chmod(0o777)
    )
    batch.setup("--job", "12")

    batch.shifter("sh", "-c", "echo hello > /open/file", job="12")

    assert batch.shifter("cat", "/open/file", job="12").stdout == "hello\n"
    assert batch.shifter("cat", "/open/file").returncode != 0


def test_what_a_container_holds_makes_nobody_join(batch):
    """An image, or a user in a writable root, may forge shifterConfig.json."""
    batch.node.configure(mountUdiRootWritable=1)
    text = f'{{"identifier":"{IMAGE_ID}","user":"bob","volMap":"","modules":""}}\n'

    def forge(tree: Path) -> None:
        (tree / "var").mkdir(mode=0o777)
        (tree / "var").chmod(0o777)
        (tree / "var/shifterConfig.json").write_text(text)

    batch.node.add_image(forge)
    batch.setup("-u", "alice")
    write = f"rm -f /var/shifterConfig.json; echo '{text.strip()}' > /var/shifterConfig.json"
    batch.shifter("sh", "-c", write)

    assert batch.joined(user=BOB) is None
    assert batch.joined(user=ALICE) == "node"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            "../12",
            "12/",
            "12/../12",
            "/run/shifter/udi/12",
            "12\n",
            "\n12",
        ),
        *(" 12", "-12", ".12", "_12", "१२", "x" * 64, "1" * 65, "y" * 65536, "%31%32", "record"),
    ],
)
def test_what_is_no_job_id_joins_nothing(batch, text):
    batch.setup("--job", "12")

    assert batch.joined(job=text) is None


def test_a_user_cannot_name_the_nodes_container_as_a_job(batch):
    batch.setup()

    assert batch.joined(job="node", user=ALICE) == "node"  # as it would without that name
    assert batch.joined(job="node", user=BOB) is None


def test_joining_and_dry_run_say_so(batch):
    batch.setup("--job", "12")

    assert (
        "joining the container prepared for job 12"
        in batch.shifter("--verbose", "true", job="12").stderr
    )
    dry = batch.shifter("--dry-run", "true", job="12")
    assert "this launch joins the container prepared for job 12" in dry.stderr
    assert "bind /dev on /dev" in dry.stdout


def test_the_access_list_is_held_on_every_launch(batch):
    batch.node.add_image(meta=f"USERACL: {ALICE}\n")
    batch.setup("--job", "12")
    assert batch.shifter("true", job="12").returncode == 0
    batch.node.add_image(meta=f"USERACL: {BOB}\n")

    assert "permission denied" in batch.shifter("true", job="12").stderr


def test_a_launch_that_joins_opens_no_file_of_an_image_that_is_everybodys(batch):
    batch.setup("--job", "12")
    batch.node.images.chmod(0o777)  # so that whoever opens something there refuses

    try:
        assert batch.shifter("true", job="12").returncode == 0
        assert "writable by everybody" in batch.shifter("true").stderr
    finally:
        batch.node.images.chmod(0o755)


def test_an_image_that_was_everybodys_is_held_to_its_access_list_where_nothing_is_joined(batch):
    batch.setup("--job", "12")
    batch.node.add_image(meta=f"USERACL: {BOB}\n")

    assert batch.shifter("true", job="12").returncode == 0
    assert "permission denied" in batch.shifter("true").stderr
    other = batch.shifter("--volume=/shared:/data", "true", job="12")
    assert "permission denied" in other.stderr


def test_a_job_goes_on_when_its_image_has_expired(batch):
    batch.node.add_image(meta="ENV: COLOUR=red\nENTRY: ['/bin/cat', '/etc/os-release']\n")
    batch.setup("--job", "12")
    for file in batch.node.images.iterdir():
        file.unlink()

    assert batch.shifter("--entrypoint", job="12").stdout == "ID=busybox\n"
    assert "COLOUR=red\n" in batch.shifter("env", job="12").stdout
    assert "cannot find requested image" in batch.shifter("true").stderr
    other = batch.shifter("--volume=/shared:/data", "true", job="12")
    assert "this launch differs from the container" in other.stderr
    assert batch.shifter("true", job="12", user=BOB).returncode == 1


def test_an_expired_images_access_list_still_holds(batch):
    batch.node.add_image(meta=f"USERACL: {ALICE}\n")
    batch.setup("--job", "12", "-u", "alice")
    for file in batch.node.images.iterdir():
        file.unlink()

    assert batch.shifter("true", job="12", user=ALICE).returncode == 0
    assert batch.shifter("true", job="12", user=BOB).returncode == 1


def test_a_joined_process_has_no_more_than_one_of_its_own(batch):
    script = "grep -E 'Uid|Gid|Groups|Cap|NoNewPrivs' /proc/self/status; ls /proc/self/fd"
    batch.node.add_image(lambda tree: (tree / "bin/grep").symlink_to("busybox"))
    own = batch.shifter("sh", "-c", script)
    batch.setup("--job", "12")

    joined = batch.shifter("sh", "-c", script, job="12")

    assert joined.stdout == own.stdout
    assert f"Uid:\t{ALICE}" in joined.stdout


def test_no_mount_of_the_node_is_left_to_be_found(batch):
    batch.setup("--job", "12")
    script = "cat /proc/self/mountinfo; ls /; cd /..; ls; ls /proc/self/root/.."

    joined = batch.shifter("sh", "-c", script, job="12").stdout

    assert str(batch.node.prefix / "images") not in joined.replace("lowerdir=", "")
    assert "work" not in joined.split()
    assert "container_info" not in joined


def test_nobody_joins_what_was_unmounted_by_hand(batch):
    batch.setup()
    batch.run("umount", "--lazy", batch.node.prefix / "udi")

    assert batch.joined() is None
    assert batch.setup().returncode == 0  # the rest was swept away
    assert batch.joined() == "node"


def test_nobody_joins_whose_processes_the_container_would_not_show(batch):
    batch.setup("--job", "12")
    launch = [batch.node.launcher, "--verbose", f"--image=id:{IMAGE_ID}", "true"]
    become = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups"]
    job = {"SLURM_JOB_ID": "12"}

    done = batch.run("unshare", "--pid", "--fork", *become, *launch, env=job)
    as_ever = batch.run(*become, *launch, env=job)

    assert (done.returncode, as_ever.returncode) == (0, 0)
    assert "shifter: joining" not in done.stderr
    assert "another pid namespace" in done.stderr
    assert "shifter: joining" in as_ever.stderr


def test_nobody_joins_once_unsetup_has_begun(batch):
    batch.setup("--job", "12")
    batch.run("rm", f"{STATE}/12/record")

    assert batch.joined(job="12") is None


@pytest.mark.parametrize(
    "text", ["", "\n", "shifter-udi 2\n1 2 3 4\n", "shifter-udi 1\nx\n", "\0" * 99]
)
def test_a_record_of_another_release_is_left_alone(batch, text):
    batch.setup("--job", "12")
    batch.run("sh", "-c", f"printf '%s' \"$1\" > {STATE}/12/record", "sh", text.replace("\0", "x"))

    assert batch.shifter("true", job="12").returncode == 0
    assert batch.unsetup("--job", "12").returncode == 0
    assert batch.is_clean()


def test_fifty_launches_while_the_container_is_taken_down_all_work(batch):
    for words, job in ((("--job", "12"), "12"), ((), None)):
        batch.setup(*words)
        running = []
        for count in range(50):
            running.append(
                batch.start_shifter("cat", "/proc/self/comm", "/etc/os-release", job=job)
            )
            if count == 25:
                taking = batch.start(batch.node.prefix / "sbin/unsetupRoot", *words)
        done = [finish(process) for process in running]

        assert finish(taking).returncode == 0
        assert {(process.returncode, process.stdout) for process in done} == {
            (0, "cat\nID=busybox\n")
        }, done
        assert batch.is_clean()


def test_a_process_inside_keeps_everything_when_the_container_is_taken_down(batch):
    fifo = batch.node.shared / str(ALICE) / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, ALICE, ALICE)
    batch.setup()
    inside = batch.start_shifter(
        "sh", "-c", f"echo in; read x < /shared/{ALICE}/fifo; ls /shared; cat /proc/self/comm"
    )
    assert inside.stdout is not None
    assert inside.stdout.readline() == "in\n"

    assert batch.unsetup().returncode == 0
    assert batch.is_clean()
    assert len(host_state(batch.node.prefix)) == 1  # the image's device, still in use

    fifo.write_text("go\n")
    stdout, _ = inside.communicate(timeout=20)
    assert stdout.split() == [str(ALICE), str(BOB), "cat"]


def test_a_launch_without_anything_to_join_opens_nothing_more_than_names(batch):
    """The price that every launch pays: one failed open for each name."""
    trace = batch.run(
        "/usr/bin/python3", "-ISBc",
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from shifter_runtime.job import joining\n"
        "class User: uid = 61001\n"
        "def find(): return joining.records(User, {'SLURM_JOB_ID': '1', 'PBS_JOBID': '2'})\n"
        "find(); best = min(timed for timed in [(-time.perf_counter_ns(), find(),\n"
        "    time.perf_counter_ns()) for _ in range(200)] for timed in [timed[0] + timed[2]])\n"
        "print(best, 'shifter_runtime.job.record' in sys.modules)",
        batch.node.prefix / "lib/shifter",
    )  # fmt: skip
    nanoseconds, loaded = trace.stdout.split()

    assert loaded == "False"
    assert int(nanoseconds) < 50_000


def test_joining_mounts_nothing(batch):
    batch.setup("--job", "12")
    tables = {batch.shifter("cat", "/proc/self/mountinfo", job="12").stdout for _ in range(5)}

    assert len(tables) == 1  # with the ids of the mounts
