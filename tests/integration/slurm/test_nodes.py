# SPDX-License-Identifier: BSD-3-Clause
"""What a job leaves on its nodes, however it ends: nothing, and no node is drained.

That is looked at after each test; see `nothing_is_left`.
"""

from __future__ import annotations

import signal

import pytest

from tests.integration.conftest import wait_until

pytestmark = pytest.mark.root

JOINED = "shifter: joining the container prepared for job {id}\nshifter: running true\n"


class Held:
    """A job that says when it runs in its container, and ends when it is told to."""

    def __init__(self, cluster, image, *options, then="", name="held", user="alice"):
        self.cluster, self.user = cluster, user
        self.place = f"/global/scratch/{name}-{user}"
        cluster.output("ctl", "mkdir", "-p", self.place, user=user)
        script = f"""#!/bin/bash
shifter -v true
touch {self.place}/runs
until [ -e {self.place}/go ]; do sleep 0.05; done
{then}
"""
        self.job = cluster.sbatch(script, f"--image={image}", *options, user=user)
        wait_until(self._runs, what="the job")

    def let_go(self):
        self.cluster.output("ctl", "touch", f"{self.place}/go", user=self.user)
        return self.job.result()

    def _runs(self):
        return self.cluster.run("ctl", "test", "-e", f"{self.place}/runs").returncode == 0


@pytest.fixture
def held(cluster, tool):
    """`held(*options, then="", user="alice")`: see Held; in the image `tool`."""
    made = []

    def start(*options, **more):
        made.append(Held(cluster, tool.reference, *options, name=f"held{len(made)}", **more))
        return made[-1]

    yield start
    cluster.cancel_all()
    for job in made:
        cluster.output("ctl", "rm", "-rf", job.place, user=job.user)


def test_two_users_on_one_node_have_a_container_each(cluster, held, directory):
    secret = directory("secret")
    cluster.output("ctl", "touch", f"{secret}/file")
    look = "shifter sh -c 'readlink /proc/self/ns/mnt; id -un; ls /mine 2>&1'; true"
    alice = held("-wn1", f"--volume={secret}:/mine", then=look)
    bob = held("-wn1", user="bob", then=look)

    assert len(cluster.node("n1").kept()) >= 2
    hers, his = alice.let_go().splitlines()[2:], bob.let_go().splitlines()[2:]

    assert hers[1:] == ["alice", "file"]
    assert his[1:] == ["bob", "ls: /mine: No such file or directory"]
    assert hers[0] != his[0]


def test_nobody_joins_the_job_of_another_user(cluster, tool, held):
    hers = held("-wn1").job.id
    forge = f"SHIFTER_JOB_ID={hers} SLURM_JOB_ID={hers} shifter -v sh -c 'id -un; echo $TOOL'"

    done = cluster.srun("-wn1", f"--image={tool.name}", "bash", "-c", forge, user="bob")

    assert done.stdout == "bob\nhammer\n", done.stderr
    assert f"prepared for job {hers}" not in done.stderr


def test_jobs_on_one_node_end_each_for_itself(held):
    first = held("-wn1")
    second = held("-wn1", then="shifter -v true")

    first.let_go()

    assert second.let_go() == 2 * JOINED.format(id=second.job.id)


def test_a_job_is_killed_with_its_processes_inside(cluster, held):
    running = held("-N3", then="srun shifter sh -c 'trap : TERM; sleep 971; sleep 971'")
    cluster.output("ctl", "touch", f"{running.place}/go")
    wait_until(lambda: all(cluster.node(name).pids("sleep 971") for name in cluster.nodes))

    cluster.scontrol("show", "job", str(running.job.id))
    cluster.output("ctl", "scancel", "--full", "-s", "KILL", str(running.job.id))

    assert running.job.wait() in ("CANCELLED", "FAILED")
    cluster.wait_idle()
    assert not any(cluster.node(name).pids("sleep 971") for name in cluster.nodes)


def test_a_process_that_left_its_job_does_not_keep_the_container(cluster, tool):
    leave = "shifter sh -c 'cd /data; setsid sleep 972 >/dev/null 2>&1 &'"
    job = cluster.sbatch(
        f"#!/bin/bash\n(setsid {leave} &)\nsleep 1\n", "-wn1", f"--image={tool.name}"
    )
    job.result()
    cluster.wait_idle()

    try:
        assert cluster.is_clean("n1")
    finally:
        cluster.node("n1").kill(cluster.node("n1").pids("sleep 972"))


def test_a_job_outlives_slurmd(cluster, held):
    running = held("-wn2", then="shifter -v true")
    node = cluster.node("n2")

    node.stop_slurmd(signal.SIGKILL)
    node.start_slurmd()
    node.wait_for_slurmd()

    assert running.let_go() == 2 * JOINED.format(id=running.job.id)


def test_a_node_that_is_rebooted_has_nothing_of_its_job(cluster, tool, held):
    running = held("-wn3")

    cluster.reboot("n3")
    assert cluster.is_clean("n3")
    cluster.output("ctl", "scancel", "--full", str(running.job.id))

    assert running.job.wait() in ("CANCELLED", "FAILED")
    cluster.wait_idle()
    done = cluster.srun("-wn3", f"--image={tool.name}", "shifter", "hostname")
    assert done.stdout == "n3\n", done.stderr


def test_an_epilog_finds_that_another_was_there_before(cluster, held):
    running = held("-wn1")
    unset = [cluster.prefix / "sbin/unsetupRoot", f"--job={running.job.id}"]

    assert cluster.run("n1", *unset, user="root").returncode == 0

    assert running.let_go() == JOINED.format(id=running.job.id)


def test_an_epilog_runs_where_no_prolog_did(cluster):
    with cluster.without_plugin():
        job = cluster.sbatch("#!/bin/bash\nsleep 973\n", "-wn1")
        wait_until(lambda: cluster.node("n1").pids("sleep 973"))
    cluster.output("ctl", "scancel", "--full", str(job.id))

    assert job.wait() in ("CANCELLED", "FAILED")


def test_a_job_that_starts_again_takes_down_what_an_epilog_has_left(cluster, tool):
    script = """#!/bin/bash
shifter true
if [ "$SLURM_RESTART_COUNT" = "" ]; then sleep 974; fi
srun shifter -v true
"""
    options = ["-wn1", f"--image={tool.name}", "--requeue", "--open-mode=append"]
    job = cluster.sbatch(script, *options)
    wait_until(lambda: cluster.node("n1").pids("sleep 974"))

    with cluster.without_plugin():
        cluster.scontrol("requeue", str(job.id))
        cluster.wait_idle()
        assert cluster.node("n1").kept()
    job.start_again()

    assert job.result().endswith(JOINED.format(id=job.id))


def test_a_node_without_the_image_says_so_in_its_task_only(cluster, tool):
    empty = ["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/global/images"]
    cluster.output("n2", *empty, user="root")
    try:
        job = cluster.sbatch(
            "#!/bin/bash\nsrun -K0 shifter hostname\n", "-N3", f"--image={tool.name}"
        )
        state = job.wait()
    finally:
        cluster.wait_idle()
        cluster.output("n2", "umount", "/global/images", user="root")

    output = job.output()
    assert state == "FAILED"
    assert "the container of this job could not be prepared on node n2" in output
    assert f"cannot find requested image: /global/images/{tool.image_id}" in output
    assert {"n1", "n3"} <= set(output.splitlines())
    again = cluster.srun("-N3", f"--image={tool.name}", "shifter", "hostname")
    assert sorted(again.stdout.split()) == cluster.nodes


def test_a_volume_that_vanishes_before_the_start_is_named(cluster, tool, directory):
    data = directory("data")
    volume = f"--volume={data}:/data"
    job = cluster.sbatch("#!/bin/bash\nshifter true\n", "--hold", f"--image={tool.name}", volume)

    cluster.output("ctl", "rmdir", data)
    cluster.scontrol("release", str(job.id))

    assert job.wait() == "FAILED"
    assert f"volume source '{data}' does not exist" in job.output()


def test_a_site_script_that_hangs_fails_the_job_in_time(cluster, tool):
    hook = cluster.site_file("hang.sh", "sleep 975\n")

    with cluster.settings(sitePreMountHook=hook), cluster.plugstack(setup_timeout=1):
        job = cluster.sbatch("#!/bin/bash\nshifter true\n", "-wn1", f"--image={tool.name}")
        state = job.wait()

    assert state == "FAILED"
    assert "the container of this job could not be prepared on node n1" in job.output()
    assert cluster.node("n1").pids("sleep 975") == []


def test_a_job_may_be_cancelled_while_its_container_is_prepared(cluster, tool):
    hook = cluster.site_file("slow.sh", "sleep 2\n")

    with cluster.settings(sitePreMountHook=hook):
        job = cluster.sbatch("#!/bin/bash\nshifter true\n", "-wn1", f"--image={tool.name}")
        wait_until(lambda: cluster.node("n1").pids("sleep 2"), what="the hook")
        cluster.output("ctl", "scancel", str(job.id))

        assert job.wait() == "CANCELLED"
