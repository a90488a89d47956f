# SPDX-License-Identifier: BSD-3-Clause
"""Ranks that Slurm starts in containers on several nodes find each other, by either MPI."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.slurm.mpi_site import BARE, OWN, MpiSite, versions_of, world_of

pytestmark = pytest.mark.root

PMI = {"mpich": "pmi2", "openmpi": "pmix"}
ONE_WORLD = [
    (rank, 6, host, (rank - 1) % 6, 15)
    for rank, host in enumerate(["n1", "n1", "n2", "n2", "n3", "n3"])
]
JOINING = "shifter: joining the container prepared for job "


@pytest.fixture(scope="module")
def site(cluster, tmp_path_factory) -> Iterator[MpiSite]:
    site = MpiSite(cluster, tmp_path_factory.mktemp("mpi"))
    with site.prepared():
        yield site


@pytest.mark.parametrize("kind", PMI)
@pytest.mark.parametrize("options", [[OWN], [BARE, "--module={kind}"]], ids=["own", "site's"])
def test_ranks_in_private_containers_form_one_world(site: MpiSite, kind: str, options: list[str]):
    image, *module = [word.format(kind=kind) for word in options]

    done = site.ring(kind, f"--image={image}", *module, mpi=PMI[kind])

    assert (done.returncode, done.stderr) == (0, "")
    assert world_of(done.stdout) == ONE_WORLD
    assert "the image's own" not in versions_of(done.stdout)


@pytest.mark.parametrize("kind", PMI)
@pytest.mark.parametrize("options", [[OWN], [BARE, "--module={kind}"]], ids=["own", "site's"])
def test_ranks_in_the_jobs_containers_form_one_world(site: MpiSite, kind: str, options: list[str]):
    image, *module = [word.format(kind=kind) for word in options]

    done = site.ring(kind, "-v", mpi=PMI[kind], srun=[f"--image={image}", *module])

    assert done.returncode == 0, done.stderr
    assert world_of(done.stdout) == ONE_WORLD
    assert "the image's own" not in versions_of(done.stdout)
    assert done.stderr.count(JOINING) == 6
    assert [line for line in done.stderr.splitlines() if not line.startswith("shifter: ")] == []
