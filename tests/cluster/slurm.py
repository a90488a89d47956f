# SPDX-License-Identifier: BSD-3-Clause
"""Slurm's configuration, the plugin's among it, and a batch job as a test sees it."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.conftest import wait_until

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

CPUS = 8  # of a node, whatever this machine has: tests do not compute

_SLURM_CONF = f"""\
ClusterName=stest
SlurmctldHost=ctl
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SlurmdTimeout=60
KillWait=2
MinJobAge=600
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,bf_interval=1,bf_resolution=1,sched_interval=1
PrologFlags=Alloc,Contain
PlugStackConfig=/etc/slurm/plugstack.conf
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
SlurmctldDebug=info
SlurmdDebug=info
NodeName=n[1-@NODES@] CPUs={CPUS} RealMemory=2000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=30 State=UP OverSubscribe=NO
"""
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


def write_config(directory: Path, nodes: int) -> None:
    directory.mkdir()
    (directory / "slurm.conf").write_text(_SLURM_CONF.replace("@NODES@", str(nodes)))
    (directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainCores=no\n")
    (directory / "plugstack.conf").write_text("")


def plugstack_line(plugin: Path, arguments: Mapping[str, object]) -> str:
    """As a site has it; an argument of None is left out, True stands alone."""
    words = [
        name if value is True else f"{name}={value}"
        for name, value in arguments.items()
        if value is not None
    ]
    return " ".join(["required", str(plugin), *words]) + "\n"


@dataclasses.dataclass(frozen=True)
class Job:
    """A batch job: what Slurm says of it and what it has written."""

    cluster: Cluster
    id: int
    user: str
    output_path: Path

    @classmethod
    def submit(
        cls,
        cluster: Cluster,
        script: str | Sequence[str],
        options: Sequence[str],
        *,
        user: str,
        env: Mapping[str, str] | None,
        cwd: str | Path | None,
    ) -> Job:
        """Hand a script, or a command, to sbatch; fails the test when it is refused."""
        text = script if isinstance(script, str) else cls._script_of(script)
        name = secrets.token_hex(4)
        path = cluster.home(user) / f"job-{name}.sh"
        output = cluster.home(user) / f"job-{name}.out"
        cluster.write(path, text, user=user)
        done = cluster.run(
            "ctl", "sbatch", "--parsable", f"--output={output}", *options, path,
            user=user, env=env, cwd=cwd,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return cls(cluster, int(re.split(r"[;\n]", done.stdout)[0]), user, output)

    @staticmethod
    def _script_of(words: Sequence[str]) -> str:
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        return f"#!/bin/bash\n{quoted}\n"

    def state(self) -> str:
        """The state of the job; of an array or a het job, that of the part that goes on longest."""
        states = self.cluster.job_states(self.id)
        going_on = [state for state in states if state not in _ENDED]
        failed = [state for state in states if state != "COMPLETED"]
        return (going_on or failed or states)[0]

    def wait(self, timeout: float = 60) -> str:
        """Wait until it has ended, and give its state."""
        what = f"job {self.id}"
        wait_until(lambda: self.state() in _ENDED, seconds=timeout, what=what)
        return self.state()

    def start_again(self) -> None:
        """Have a job that was requeued start soon; by itself Slurm lets two minutes pass.

        Two seconds must pass: it tells what it has revoked from what it gives anew by the second.
        """

        def is_requeued() -> bool:
            shown = self.cluster.scontrol("show", "job", str(self.id))
            return "Restarts=1" in shown and "JobState=PENDING" in shown

        wait_until(is_requeued, what=f"job {self.id} in the queue again")
        self.cluster.scontrol("update", f"jobid={self.id}", "starttime=now+2")

    def output(self) -> str:
        """What it has written by now, errors included."""
        return self.cluster.read(self.output_path, user=self.user)

    def result(self, timeout: float = 60) -> str:
        """The output of a job that must succeed."""
        state = self.wait(timeout)
        assert state == "COMPLETED", f"{state}: {self.output()}"
        return self.output()
