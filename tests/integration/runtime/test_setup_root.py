# SPDX-License-Identifier: BSD-3-Clause
"""setupRoot and unsetupRoot: what they make, refuse, show, and take down again."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration.runtime.batch import finish
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT, host_state, wait_until

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).parents[2] / "golden/udi"
GOLDEN_ID = "e1edb98a467409ea070bb8ceb37c9f375b20d64a65c7f24d3cffda7ba75cdf0f"

# What the original mounted, and every container of a job has, wherever else mounts are.
GOLDEN_MOUNTS = {"/", "/home", "/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/mnt"}


def golden(name: str) -> str:
    return (GOLDEN / name).read_text()


@pytest.fixture
def recorded(batch):
    """The node prepared with the command line of golden/udi/setupRoot_run.txt."""
    source = batch.node.shared / "alice/src"
    source.mkdir(parents=True)
    os.chown(source.parent, ALICE, ALICE)
    batch.node.configure(siteFs=f"{batch.node.shared}:/home")
    batch.node.add_image(image_id=GOLDEN_ID)
    batch.setup_done = batch.setup(
        *("-u", "alice", "-U", str(ALICE), "-G", str(ALICE)),
        *("-v", "/home/alice/src:/mnt:ro", "-N", "node1/2 node2/1"),
        image=GOLDEN_ID,
    )
    assert batch.setup_done.returncode == 0, batch.setup_done.stderr
    return batch


def test_the_recorded_command_line_succeeds_without_a_word(recorded):
    done = recorded.setup_done

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["hostsfile", "shifterConfig.json"])
def test_files_of_the_prepared_root_are_byte_for_byte_the_originals(recorded, name):
    written = recorded.run("cat", recorded.node.prefix / "udi/var" / name).stdout

    suffix = "" if name.endswith(".json") else ".txt"
    assert written == golden(f"setuproot_var_{name}{suffix}")


def test_the_prepared_root_has_the_mounts_of_the_original_with_its_restrictions(recorded):
    table = recorded.shifter(
        "--volume=/home/alice/src:/mnt:ro", "cat", "/proc/self/mountinfo", image=GOLDEN_ID
    ).stdout
    ours = {line.split()[4]: set(line.split()[5].split(",")) for line in table.splitlines()}
    rows = [line.split(" | ") for line in golden("setuproot_mountinfo.txt").splitlines()[1:]]
    theirs = {row[0]: set(row[1].split(",")) for row in rows if row[0] in GOLDEN_MOUNTS}

    assert set(theirs) == GOLDEN_MOUNTS
    for place, options in theirs.items():
        assert options - {"relatime"} <= ours[place], place


def test_processes_in_the_prepared_root_have_the_ids_and_rights_of_the_recording(recorded):
    status = recorded.shifter(
        "--volume=/home/alice/src:/mnt:ro", "cat", "/proc/self/status", image=GOLDEN_ID
    ).stdout.splitlines()
    exact = [
        line
        for line in golden("setuproot_status.txt").splitlines()
        if line.startswith(("Cap", "NoNewPrivs", "Sig", "Seccomp:"))
    ]

    assert set(exact) <= set(status)
    assert f"Uid:\t{ALICE}\t{ALICE}\t{ALICE}\t{ALICE}" in status


def test_umask_and_directory_hold_in_the_prepared_root(recorded):
    command = ["--volume=/home/alice/src:/mnt:ro", "sh", "-c", "umask; pwd; touch /x"]
    program = f'umask 0027; cd {recorded.node.shared}; exec "$@"'
    launch = [recorded.node.launcher, f"--image=id:{GOLDEN_ID}", "--workdir=/home", *command]
    done = recorded.run("sh", "-c", program, "sh", *launch, user=ALICE)

    assert done.stdout == "0027\n/home\n"  # golden: setuproot_process.txt
    assert done.stderr == "touch: /x: Read-only file system\n"


def test_a_second_call_is_refused_and_says_whose_the_first_was(recorded):
    """The original, too, refuses, but by failing halfway (setupRoot_second.txt)."""
    before = recorded.mounts()

    done = recorded.setup("-u", "bob", image=GOLDEN_ID)

    assert done.returncode == 3
    assert "already, prepared for user alice: run unsetupRoot" in done.stderr
    assert recorded.mounts() == before


def test_unsetup_leaves_nothing_without_a_word(recorded):
    done = recorded.unsetup()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # unsetupRoot_run.txt
    assert recorded.is_clean()


@pytest.mark.parametrize("words", [(), ("--job", "12")])
def test_unsetup_of_what_is_not_there_is_no_failure(batch, words):
    """Epilog without prolog, and epilog twice."""
    assert batch.unsetup(*words).returncode == 0
    assert batch.setup(*words).returncode == 0
    assert [batch.unsetup(*words).returncode for _ in range(2)] == [0, 0]
    assert batch.is_clean()


def test_the_container_of_the_node_replicates_to_no_other_namespace(batch):
    other = batch.start("unshare", "--mount", "--propagation", "unchanged", "sleep", "infinity")
    time.sleep(0.2)
    try:
        assert batch.setup().returncode == 0
        table = Path(f"/proc/{other.pid}/mountinfo").read_text()
        inside = [line for line in table.splitlines() if f"{batch.node.prefix}/udi/" in line]

        assert inside == []
        ours = [line for line in table.splitlines() if str(batch.node.prefix) in line]
        assert [line for line in ours if "overlay shifter" in line] == []
        assert len(batch.mounts()) > 5
    finally:
        other.kill()
        other.communicate()
    assert batch.unsetup().returncode == 0


def test_nothing_of_a_jobs_container_is_mounted_on_the_node(batch):
    batch.setup("--job", "12")

    assert {line.split(" - ")[1].split()[0] for line in batch.mounts()} == {"tmpfs", "nsfs"}


def test_what_the_node_shows_of_a_container_is_its_users_and_roots_alone(batch):
    """Its image may be private, and a volume may lie where nobody else can come."""
    batch.node.add_image(
        lambda tree: (tree / "data/private").write_text("of alice\n"), meta=f"USERACL: {ALICE}\n"
    )
    source = batch.node.shared / str(ALICE) / "open"
    source.mkdir()
    (source / "file").write_text("of alice\n")
    os.chown(source, ALICE, ALICE)
    assert batch.setup("-v", f"/shared/{ALICE}/open:/mnt").returncode == 0
    place = batch.node.prefix / "udi"

    for name in ("data/private", "mnt/file"):
        seen = {user: batch.run("cat", place / name, user=user) for user in (0, ALICE, BOB)}
        assert seen[0].stdout == seen[ALICE].stdout == "of alice\n"
        assert (seen[BOB].stdout, "Permission denied" in seen[BOB].stderr) == ("", True)
    assert batch.run("ls", place, user=BOB).returncode != 0
    volume = f"--volume=/shared/{ALICE}/open:/mnt"
    assert batch.joined(volume) == "node"
    assert batch.shifter(volume, "cat", "/mnt/file").stdout == "of alice\n"


def test_unsetup_compares_mount_points_by_component(batch):
    """(m) 14: what merely begins with the name of udiMount is somebody else's."""
    neighbour = f"{batch.node.prefix}/udi-other"
    batch.run("mkdir", neighbour)
    batch.run("mount", "-t", "tmpfs", "none", neighbour)
    batch.setup()

    assert batch.unsetup().returncode == 0
    assert [line.split()[4] for line in batch.mounts()] == [neighbour]


def test_unsetup_takes_down_what_somebody_mounted_below_udimount_meanwhile(batch):
    batch.setup()
    place = f"{batch.node.prefix}/udi/tmp"
    assert batch.run("mount", "-t", "tmpfs", "none", place).returncode == 0

    assert batch.unsetup().returncode == 0
    assert batch.is_clean()


def test_unsetup_leaves_a_busy_container_to_who_is_inside(batch):
    batch.setup("--job", "12", "-v", "/shared:/data")
    inside = batch.start_shifter(
        "--volume=/shared:/data", "sh", "-c", "read x < /shared/61001/fifo; ls / /proc/self/ns",
        job="12",
    )  # fmt: skip
    fifo = batch.node.shared / str(ALICE) / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, ALICE, ALICE)
    try:
        wait_until_running(inside.pid)
        done = batch.unsetup("--job", "12", "-v")
        assert done.returncode == 0
        assert f"process {inside.pid} ('sh') is inside" in done.stderr
        assert batch.is_clean()
    finally:
        with open(fifo, "w") as file:
            file.write("go\n")
    assert "shared" in finish(inside).stdout


def wait_until_running(pid: int) -> None:
    program = Path(f"/proc/{pid}/cmdline")
    wait_until(lambda: program.read_bytes().startswith(b"sh\0-c\0"), seconds=20)


def test_unsetup_says_what_is_left(batch):
    """A mount that cannot be taken down: the node's own table is not this process's to change."""
    batch.setup()
    hidden = f"mount --bind /dev/null {batch.node.prefix}/sbin/unsetupRoot"
    assert batch.run("sh", "-c", hidden).returncode == 0
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from shifter_runtime import syscalls;"
        "syscalls.detach_mount = lambda path: (_ for _ in ()).throw(OSError(1, 'no', path));"
        "from shifter_runtime.job import state; state.release_namespace = lambda name: None;"
        "from shifter_runtime.job.unsetup_root import main; main(sys.argv[2], [])"
    )
    library = batch.node.prefix / "lib/shifter"

    done = batch.run("/usr/bin/python3", "-ISBc", program, library, batch.node.config)

    assert done.returncode == 1
    assert f"still mounted, in spite of all attempts: {batch.node.prefix}/udi" in done.stderr
    batch.run("umount", f"{batch.node.prefix}/sbin/unsetupRoot")
    assert batch.unsetup().returncode == 0


def test_setup_refuses_to_cover_what_somebody_else_mounted(batch):
    place = f"{batch.node.prefix}/udi"
    batch.run("mkdir", "-p", place)
    batch.run("mount", "-t", "tmpfs", "none", place)

    done = batch.setup()

    assert done.returncode == 1
    assert f"something is mounted on {place}" in done.stderr
    assert len(batch.mounts()) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--user", "root"), "no container is prepared for root"),
        (("--user", "nobody-here"), "unknown on this node"),
        (("--uid", "0"), "no container is prepared for root"),
        (("--uid", "64999"), "user id 64999 is unknown"),
        (("-u", "alice", "-G", "0"), "no container is prepared for root"),
        (("-u", "alice", "-G", str(PROJECT)), f"not in group {PROJECT}"),
        (("-u", "alice", "--volume", "/shared:/etc"), "reserved by Shifter"),
        (("-u", "alice", "--volume", "/nowhere:/mnt"), "does not exist in the container"),
        (("--user", "alice", "-U", str(BOB)), f"is user id {ALICE} on this node, not {BOB}"),
    ],
)
def test_what_a_launch_may_not_have_is_not_prepared(batch, words, problem):
    done = batch.setup(*words)

    assert done.returncode == 1
    assert problem in done.stderr
    assert batch.is_clean()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("-u", "alice", "--module", "none-such"), "unknown module 'none-such'"),
        (("-u", "alice", "--uid", "-1"), "must be a number"),
        (("-u", "alice", "--uid", "12x"), "must be a number"),
        (("-u", "alice", "-N", "node1/2;reboot/1"), "not of the form HOST/TASKS"),
        (("-u", "alice", "-N", "node1"), "not of the form HOST/TASKS"),
        (("-u", "alice", "-N", "node1/99999999"), "not of the form HOST/TASKS"),
        (("-u", "alice", "-N", "a/4000000 b/4000000"), "more than 4194304 tasks"),
        (("-u", "alice", "-N", "../x/1"), "not of the form HOST/TASKS"),
        (("-u", "alice", "-s", "two\nlines"), "one line"),
        (("-u", "alice", "--job", "../etc"), "a job's id is"),
        (("-u", "alice", "--job", "1\n2"), "a job's id is"),
        (("-u", "alice", "--job", "node"), "a job's id is"),
        (("-u", "alice", "--job", ""), "a job's id is"),
        (("-u", "alice", "--job", "1" * 129), "a job's id is"),
        (("-u", "alice", "--job", "x" * 65536), "a job's id is"),
        (("-u", "alice", "--jov", "1"), "did you mean --job?"),
        (("-u", "alice", "-x"), "invalid option '-x'"),
        (("-u", "alice", "more"), "TYPE and ID of an image are needed, not 3 words"),
    ],
)
def test_wrong_usage_has_its_own_exit_code(batch, words, problem):
    done = batch.setup(*words)

    assert done.returncode == 2
    assert problem in done.stderr
    assert len(done.stderr) < 1000
    assert batch.is_clean()


def test_nodes_of_which_none_is_this_one_are_a_warning(batch, tmp_path):
    tmp_path.joinpath("hosts").write_text("127.0.0.9 elsewhere\n")
    tmp_path.joinpath("hosts").chmod(0o644)
    batch.run("mount", "--bind", tmp_path / "hosts", "/etc/hosts")

    done = batch.setup("--nodes", "elsewhere/1")

    assert done.returncode == 0
    assert "none of the 1 nodes of --nodes that were looked up is this one (node1)" in done.stderr
    batch.unsetup()
    assert batch.setup("--nodes", "elsewhere/1 node1.example/1").stderr == ""
    batch.unsetup()
    assert batch.setup("--nodes", "unknown-to-all.invalid/1").stderr == ""  # nobody can tell


def test_addresses_are_those_that_other_nodes_reach(batch):
    program = batch.node.prefix / "bin/shifter-admin"
    lines = batch.run(program, "addresses").stdout.splitlines()
    told = batch.run("ip", "-brief", "address", "show", "up").stdout

    assert all(line.split()[1] in told and line.split()[0] in told for line in lines)
    assert not any(line.startswith("lo ") or "fe80" in line for line in lines)
    records = json.loads(batch.run(program, "addresses", "--json").stdout)
    assert [f"{each['interface']} {each['address']}" for each in records] == lines


@pytest.mark.parametrize("image", ["../x", "a" * 63, "A" * 64, "a" * 64 + "\n", "$(id)"])
def test_what_is_no_image_id_is_refused(batch, image):
    done = batch.setup(image=image)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert batch.is_clean()


def test_a_missing_image_is_refused(batch):
    done = batch.setup(image="c" * 64)

    assert done.returncode == 1
    assert "cannot find requested image" in done.stderr


def test_an_image_that_its_access_list_keeps_from_the_user_is_refused(batch):
    batch.node.add_image(meta=f"USERACL: {BOB}\n")

    assert "permission denied" in batch.setup("-u", "alice").stderr
    assert batch.setup("-u", "bob").returncode == 0


def test_groups_count_for_access_though_the_user_did_not_call(batch):
    batch.node.add_image(meta=f"GROUPACL: {PROJECT}\n")

    assert batch.setup("-u", "alice").returncode == 1
    assert batch.setup("-u", "bob", "-G", str(PROJECT)).returncode == 0


def test_users_cannot_prepare_or_take_down(batch):
    batch.setup("--job", "12")

    prepared = batch.setup("--job", "13", user=ALICE)
    program = batch.node.prefix / "sbin/unsetupRoot"
    taken_down = batch.run(program, "--job", "12", user=ALICE)

    assert (prepared.returncode, taken_down.returncode) == (1, 1)
    assert "must be run by root" in prepared.stderr
    assert "must be run by root" in taken_down.stderr
    assert batch.kept() == ["12"]
    assert batch.run("ls", "/run/shifter/udi", user=ALICE).returncode != 0


def test_variables_of_the_job_mean_nothing_to_root(batch, tmp_path):
    hostile = {
        "SHIFTER_VOLUME": "/etc:/data", "SLURM_JOB_ID": "99", "SHIFTER_IMAGE": "x",
        "SPANK_SHIFTER_VOLUME": "/etc:/data", "PYTHONPATH": str(tmp_path), "IFS": "/",
        "PYTHONSTARTUP": str(tmp_path / "x.py"), "PYTHONHOME": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "os.py").write_text("raise SystemExit('hostile')")

    done = batch.setup("--job", "12", env=hostile)

    assert (done.returncode, done.stderr) == (0, "")
    assert batch.kept() == ["12"]


def test_dry_run_shows_the_plan_and_does_nothing(batch):
    done = batch.setup("--dry-run", "--json", "-N", "node1/1")

    assert done.returncode == 0
    assert "write /var/hostsfile (6 bytes, 0644)" in done.stdout
    assert batch.is_clean()


def test_verbose_shows_the_configuration(batch):
    done = batch.setup("-V", "--dry-run")

    assert f"udiMount = {batch.node.prefix}/udi\n" in done.stdout


@pytest.mark.parametrize("program", ["setupRoot", "unsetupRoot"])
def test_help_names_every_exit_code(batch, program):
    done = batch.run(batch.node.prefix / "sbin" / program, "--help", user=ALICE)

    assert done.returncode == 0
    assert "Exit codes: 0" in done.stdout


def test_the_loop_device_is_free_when_nobody_is_inside(batch):
    batch.setup("--job", "12")
    assert len(host_state(batch.node.prefix)) == 1
    batch.unsetup("--job", "12")

    wait_until(lambda: not host_state(batch.node.prefix), seconds=20)


def test_twenty_jobs_at_once_have_a_container_each(batch):
    running = [
        batch.start(
            batch.node.prefix / "sbin/setupRoot",
            *("--job", str(job), "-u", "alice" if job % 2 else "bob", "id", IMAGE_ID),
        )
        for job in range(20)
    ]
    done = [finish(process) for process in running]

    assert [process.returncode for process in done] == [0] * 20, done
    assert sorted(batch.kept(), key=int) == [str(job) for job in range(20)]
    assert len(host_state(batch.node.prefix)) == 1  # one device for all
    running = [batch.start(batch.node.prefix / "sbin/unsetupRoot", "--job", str(job))
               for job in range(20)]  # fmt: skip
    assert [finish(process).returncode for process in running] == [0] * 20
    assert batch.is_clean()


def test_of_two_for_one_job_at_once_one_succeeds(batch):
    words = [batch.node.prefix / "sbin/setupRoot", "--job", "12", "-u", "alice", "id", IMAGE_ID]
    running = [batch.start(*words) for _ in range(8)]

    assert sorted(finish(process).returncode for process in running) == [0] + [3] * 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_at_any_moment_leaves_all_or_nothing(batch, number):
    words = [batch.node.prefix / "sbin/setupRoot", "-u", "alice", "id", IMAGE_ID]
    for moment in range(0, 60, 3):
        process = batch.start(*words)
        time.sleep(moment / 1000)
        process.send_signal(number)
        status = finish(process).returncode
        if status == 0:
            assert batch.kept() == ["node"]
            assert batch.unsetup().returncode == 0
        elif number != signal.SIGKILL:
            assert batch.is_clean(), moment
        else:
            assert batch.unsetup().returncode == 0
        assert batch.is_clean()
