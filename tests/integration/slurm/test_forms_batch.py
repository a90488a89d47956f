# SPDX-License-Identifier: BSD-3-Clause
"""`#SBATCH --image`, salloc, srun: one lookup, one container a node, and every form of a job."""

from __future__ import annotations

import json
import re

import pytest

from tests.integration.conftest import wait_until

pytestmark = pytest.mark.root

NAMESPACE = "readlink /proc/self/ns/mnt"


@pytest.fixture(scope="module", autouse=True)  # early: by its turn, its pull is no news
def moved(cluster, tool, bash_files):
    """A tag that `move` makes another image of, pulled; and the ids of both."""
    first = cluster.push_image("lib/moves:latest", files={"etc/edition": b"first"})
    cluster.pull("docker:lib/moves:latest")

    def move():
        second = cluster.push_image("lib/moves:latest", files={"etc/edition": b"second"}).image_id
        wait_until(lambda: cluster.pull("docker:lib/moves:latest") == second)  # once it is no news
        return second

    return first.image_id, move


def test_a_job_looks_its_image_up_once_and_makes_one_container_on_each_node(
    cluster, tool, directory
):
    results = directory("results")
    cluster.output("ctl", "sh", "-c", "mkdir -p ~/data && echo mine >~/data/file")
    script = f"""#!/bin/bash
#SBATCH -N3
#SBATCH --ntasks-per-node=2
#SBATCH --image=docker:lib/tool:1
#SBATCH --volume="{results}:/output"
#SBATCH --volume=$HOME/data:/data:ro
shifter bash -c 'cat /data/file /var/hostsfile /var/shifterConfig.json; echo'
srun shifter bash -c 'echo "$SLURM_PROCID $(hostname) $(readlink /proc/self/ns/mnt) $TOOL" \\
    >/output/$SLURM_PROCID; grep -c " / " /proc/mounts'
srun -Q shifter --image=docker:lib/tool:1 {NAMESPACE}
"""
    before = cluster.gateway_requests()

    job = cluster.sbatch(script, env={"SCRATCH": "/global/scratch"})
    mine, *lines = job.result().splitlines()

    assert mine == "mine"
    assert lines[:6] == [node for node in cluster.nodes for _ in range(2)]  # /var/hostsfile
    assert json.loads(lines[6])["volMap"] == f"/global/home/alice/data:/data:ro;{results}:/output"
    written = cluster.output("ctl", "sh", "-c", f"cat {results}/*").splitlines()
    tasks = [line.split() for line in written]
    assert [task[0] for task in tasks] == [str(rank) for rank in range(6)]
    assert len({(node, namespace) for _, node, namespace, _ in tasks}) == 3
    assert {task[3] for task in tasks} == {"hammer"}
    assert sorted(lines[-6:]) == sorted(task[2] for task in tasks)  # by its name, the same again
    assert cluster.gateway_requests() == before + 1


@pytest.mark.parametrize(
    "words",
    [
        "--image=docker:lib/tool:1",
        "--image docker:lib/tool:1",
        "--image=docker://lib/tool:1",
        "--image=lib/tool:1",
        "--image=id:{id}",
    ],
)
def test_a_directive_names_the_image_in_every_way(cluster, tool, words):
    script = f"#!/bin/bash\n#SBATCH {words}\n\nshifter -v sh -c 'echo $TOOL'\n"

    output = cluster.sbatch(script.format(id=tool.image_id)).result()

    assert re.fullmatch(
        r"shifter: joining the container prepared for job \d+\nshifter: running sh\nhammer\n",
        output,
    )


def test_options_have_the_long_names_where_the_site_says_so(cluster, tool):
    with cluster.plugstack(long_options=True):
        done = cluster.srun("--shifter.image=lib/tool:1", "shifter", "sh", "-c", "echo $TOOL")

    assert done.stdout == "hammer\n", done.stderr


def test_a_script_is_run_inside_by_its_first_line(cluster, tool):
    script = (
        "#!/usr/bin/shifter /bin/bash\n#SBATCH --image=lib/tool:1\necho $TOOL $SLURM_JOB_ID $1\n"
    )
    job = cluster.sbatch(script)

    assert job.result() == f"hammer {job.id}\n"


def test_a_shell_of_salloc_and_its_steps_have_the_image(cluster, tool):
    before = cluster.gateway_requests()

    done = cluster.run(
        "ctl", "salloc", "-N2", "--image=lib/tool:1", "--volume=$HOME:/data",
        "bash", "-c", "shifter bash -c 'echo $(hostname) $TOOL'; srun shifter sh -c 'echo $TOOL'",
    )  # fmt: skip

    assert done.stdout.splitlines() == ["ctl hammer", "hammer", "hammer"], done.stderr
    assert cluster.gateway_requests() == before + 1


def test_many_ranks_of_a_step_run_a_script_in_their_nodes_containers(cluster, tool):
    cluster.write(cluster.home("alice") / "hello.py", f"echo hello; {NAMESPACE}\n")

    done = cluster.srun("-N3", "-n24", "--image=lib/tool:1", "shifter", "python", "hello.py")

    assert done.stdout.count("hello\n") == 24, done.stderr
    assert len(set(done.stdout.split()) - {"hello"}) == 3


def test_a_step_may_have_another_image_than_its_job(cluster, tool):
    script = f"""#!/bin/bash
#SBATCH --image=lib/tool:1
srun --image={cluster.busybox} shifter sh -c 'echo ${{TOOL:-other}} $SHIFTER_IMAGE'
srun -Q shifter sh -c 'echo ${{TOOL:-other}} $SHIFTER_IMAGE'
"""

    other, own = cluster.sbatch(script).result().splitlines()

    assert other == f"other {cluster.lookup(cluster.busybox)}"
    assert own == f"hammer {tool.image_id}"


def test_a_step_within_a_step_inherits_the_image(cluster, tool):
    script = "#!/bin/bash\nsrun --overlap -n1 srun --overlap -n1 shifter -v sh -c 'echo $TOOL'\n"
    before = cluster.gateway_requests()

    output = cluster.sbatch(script, "--image=lib/tool:1").result()

    assert "joining the container prepared for job" in output
    assert "hammer\n" in output  # srun passes on what comes on standard error when it likes
    assert cluster.gateway_requests() == before + 1


def test_without_the_submitters_environment_a_job_has_its_image(cluster, tool):
    script = "#!/bin/bash\nshifter sh -c 'echo $TOOL'\n"
    script += "srun /usr/bin/shifter sh -c 'echo $TOOL $SECRET.'\n"

    job = cluster.sbatch(
        script, "--export=NONE", "--image=lib/tool:1", env={"SECRET": "not for the job"}
    )

    assert job.result() == "hammer\nhammer .\n"


def test_each_task_of_an_array_has_a_container_of_its_own(cluster, tool):
    script = f"#!/bin/bash\nsrun shifter sh -c 'echo $SLURM_ARRAY_TASK_ID $({NAMESPACE})'\n"
    before = cluster.gateway_requests()

    job = cluster.sbatch(script, "--array=1-4", "--image=lib/tool:1")
    lines = [line.split() for line in job.result().splitlines()]

    assert sorted(line[0] for line in lines) == ["1", "2", "3", "4"]
    assert len({line[1] for line in lines}) == 4
    assert cluster.gateway_requests() == before + 1


def test_components_of_a_het_job_have_images_of_their_own(cluster, tool):
    script = "#!/bin/bash\nsrun --het-group=0,1 shifter sh -c 'echo ${TOOL:-plain} $(hostname)'\n"

    job = cluster.sbatch(
        script, "-N1", f"--image={cluster.busybox}", ":", "-N2", "-n2", "--image=lib/tool:1"
    )
    kinds = [line.split()[0] for line in job.result().splitlines()]

    assert sorted(kinds) == ["hammer", "hammer", "plain"]


def test_salloc_and_srun_make_het_jobs(cluster, tool):
    options = ["-N1", "--image=lib/tool:1", ":", "-N1", "--image=lib/tool:1"]
    step = "srun --het-group=0,1 shifter sh -c 'echo $TOOL'"

    allocated = cluster.run("ctl", "salloc", *options, "bash", "-c", step)
    run = cluster.srun(
        "-N1", "--image=lib/tool:1", "shifter", "sh", "-c", "echo $TOOL",
        ":", "-N1", f"--image={cluster.busybox}", "shifter", "sh", "-c", "echo ${TOOL:-plain}",
    )  # fmt: skip

    assert allocated.stdout == "hammer\nhammer\n", allocated.stderr
    assert sorted(run.stdout.split()) == ["hammer", "plain"], run.stderr


def test_a_job_keeps_the_image_that_it_was_submitted_with(cluster, moved):
    first, move = moved
    script = """#!/bin/bash
#SBATCH --image=lib/moves:latest
shifter sh -c 'cat /etc/edition; echo'
srun shifter --image=docker:lib/moves:latest sh -c 'cat /etc/edition; echo'
"""

    job = cluster.sbatch(script, "--hold")
    second = move()
    cluster.scontrol("release", str(job.id))

    assert job.result() == "first\nfirst\n"
    assert cluster.lookup("lib/moves:latest") == second != first


def test_a_job_that_is_requeued_has_its_image_again(cluster, tool):
    script = """#!/bin/bash
#SBATCH --image=lib/tool:1
shifter sh -c 'echo $TOOL'
if [ "$SLURM_RESTART_COUNT" = "" ]; then scontrol requeue $SLURM_JOB_ID; sleep 60; fi
srun shifter -v true
"""
    job = cluster.sbatch(script, "--requeue", "--open-mode=append")

    job.start_again()
    output = job.result()

    assert output.count("hammer\n") == 2
    joined = f"shifter: joining the container prepared for job {job.id}\n"
    assert output.endswith(f"{joined}shifter: running true\n")


def test_modules_are_chosen_for_a_job(cluster, tool):
    script = "#!/bin/bash\n#SBATCH --image=lib/tool:1\n#SBATCH --module=gpu,net\n"
    script += "shifter -v sh -c 'echo $GPU $NET'\nshifter --module=none sh -c 'echo .$GPU$NET.'\n"
    modules = {"module_gpu_siteEnv": "GPU=1", "module_net_siteEnv": "NET=2"}

    with cluster.settings(**modules):
        output = cluster.sbatch(script).result()

    assert output.startswith("shifter: joining the container prepared")
    assert output.endswith("1 2\n..\n")


def test_names_of_pyxis_are_understood_where_the_site_says_so(cluster, tool, directory):
    data = directory("data")

    with cluster.plugstack(enable_pyxis_names=1):
        done = cluster.srun(
            "--container-image=docker://lib/tool:1", f"--container-mounts={data}:/data:ro",
            "shifter", "sh", "-c", "echo $TOOL; touch /data/x",
        )  # fmt: skip

    assert done.stdout == "hammer\n", done.stderr
    assert "Read-only file system" in done.stderr


def test_an_image_that_is_not_there_is_pulled_at_submission(cluster):
    image = cluster.push_image("lib/unpulled:1", files={"etc/edition": b"fresh"})

    with cluster.plugstack(pull_at_submit=1):
        done = cluster.srun(f"--image={image.name}", "shifter", "cat", "/etc/edition")

    assert done.stdout == "fresh", done.stderr
    assert "status: READY" in done.stderr


def test_a_job_without_an_image_is_left_alone(cluster):
    before = cluster.gateway_requests()

    output = cluster.sbatch("#!/bin/bash\nsrun env\n", "-N3").result()

    assert "hostname" not in output
    assert not re.search("SHIFTER_(?!JOB_ID)", output)
    assert cluster.gateway_requests() == before
