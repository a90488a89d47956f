# SPDX-License-Identifier: BSD-3-Clause
"""Scripts for the life of a job, as Slurm leads it: submission, prolog, tasks, epilog."""

from __future__ import annotations

from tests.spank.mock import Script

JOB, UID, GID, USER = "77", "65534", "65534", "nobody"
IMAGE_ID = "a" * 64
EXTERN_STEP = "4294967292"

# What slurmd gives a prolog, measured on Slurm 22.05.
PROLOG_ENVIRONMENT = {
    "SLURM_JOB_ID": JOB,
    "SLURM_JOBID": JOB,
    "SLURM_JOB_UID": UID,
    "SLURM_UID": UID,
    "SLURM_JOB_GID": GID,
    "SLURM_JOB_USER": USER,
    "SLURM_NODELIST": "n[1-2]",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_JOB_CPUS_PER_NODE": "1(x2)",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURMD_NODENAME": "n1",
}

# ... and what of a job's image comes with it, from spank_job_control_setenv.
WITH_IMAGE = {
    "SPANK_SHIFTER_IMAGETYPE": "id",
    "SPANK_SHIFTER_IMAGE": IMAGE_ID,
    "SPANK_SHIFTER_IMAGEREQUEST": "ubuntu:24.04",
    "SPANK_SHIFTER_PINNED_REQUEST": "docker:ubuntu:24.04",
    "SPANK__SLURM_SPANK_OPTION_shifter_image": f"id:{IMAGE_ID}",
}

# The prolog and the epilog of a job with an image.
ENVIRONMENT = {**PROLOG_ENVIRONMENT, **WITH_IMAGE}


def submit(*options: tuple[str, str], context: str = "allocator", plugstack: tuple = ()) -> Script:
    """Submission: sbatch and salloc (allocator), or srun (local)."""
    script = Script(context).each("plugstack", *plugstack).add("hook", "init")
    script.add("inherit")
    for name, value in options:
        script.add("option", name, value)
    script.add("hook", "init_post_opt").add("look", "environment")
    return script.add("hook", "exit").add("look", "process")


def prolog(*plugstack: str, hooks: tuple[str, ...] = ("job_prolog",)) -> Script:
    script = Script("job_script").each("plugstack", *plugstack)
    script.add("item", "JOB_ID", JOB).add("item", "JOB_UID", UID).add("hook", "init")
    return script.each("hook", *hooks).add("hook", "exit").add("look", "process")


def epilog(*plugstack: str) -> Script:
    return prolog(*plugstack, hooks=("job_epilog",))


def _slurmstepd(
    number: str, tasks: int, plugstack: tuple[str, ...], environment: dict[str, str] | None
) -> Script:
    script = Script("remote").each("plugstack", *plugstack)
    items = {
        "JOB_ID": JOB, "JOB_UID": UID, "JOB_GID": GID, "JOB_STEPID": number, "JOB_NNODES": "2",
        "JOB_NODEID": "0", "JOB_SUPPLEMENTARY_GIDS": GID,
        "JOB_LOCAL_TASK_COUNT": str(tasks), "JOB_TOTAL_TASK_COUNT": str(tasks),
    }  # fmt: skip
    for name, value in items.items():
        script.add("item", name, value)
    for name, value in (environment or {}).items():
        script.add("jobenv", name, value)
    return script.add("hook", "init")


def step(
    *options: tuple[str, str],
    plugstack: tuple[str, ...] = (),
    tasks: int = 1,
    environment: dict[str, str] | None = None,
) -> Script:
    """A step on its node: what slurmstepd does around each of its tasks."""
    script = _slurmstepd("0", tasks, plugstack, environment)
    for name, value in options:
        script.add("option", name, value)
    script.each("hook", "init_post_opt", "user_init")
    for task in range(tasks):
        script.add("item", "TASK_ID", task).add("item", "TASK_GLOBAL_ID", task)
        script.add("item", "TASK_PID", 0)
        script.add("child").each("hook", "task_init_privileged", "task_init")
        script.add("look", "process").add("parent")
        script.add("hook", "task_post_fork")
    for _ in range(tasks):
        script.add("hook", "task_exit")
    return script.add("look", "environment").add("hook", "exit").add("look", "process")


def extern_step(*plugstack: str) -> Script:
    """The step that Slurm keeps on each node of a job: it has no options, and no task."""
    script = _slurmstepd(EXTERN_STEP, 0, plugstack, None)
    script.each("hook", "init_post_opt", "task_post_fork").add("look", "environment")
    return script.add("hook", "exit").add("look", "process")
