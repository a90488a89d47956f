# SPDX-License-Identifier: BSD-3-Clause
"""A job that stays, so that a test can look at what is on its nodes meanwhile."""

from __future__ import annotations

import subprocess

from tests.cluster.cluster import Cluster
from tests.integration.conftest import wait_until


class HeldJob:
    """A job that only holds its nodes; what it is about is run in steps and logins."""

    def __init__(
        self, cluster: Cluster, *nodes: str, user: str = "alice", volume: str | None = None
    ) -> None:
        self.cluster = cluster
        self.user = user
        self._wishes = [f"--image={cluster.busybox}"] + ([f"--volume={volume}"] if volume else [])
        self.batch = cluster.sbatch(
            "#!/bin/sh\nsleep 300\n",
            f"--nodes={len(nodes)}", f"--nodelist={','.join(nodes)}", *self._wishes, user=user,
        )  # fmt: skip
        wait_until(lambda: self.batch.state() == "RUNNING", what="the job")

    def inside(self, node: str, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script in a task of the job's, in its container."""
        return self.cluster.srun(
            "--quiet", f"--jobid={self.batch.id}", "--overlap", "-N1", "-n1", f"--nodelist={node}",
            "shifter", *self._wishes, "sh", "-c", script, user=self.user,
        )  # fmt: skip

    def end(self) -> None:
        self.cluster.output("ctl", "scancel", str(self.batch.id), user=self.user)
        self.cluster.wait_idle()
