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


@pytest.mark.parametrize("words", [["none"], ["pmix"], ["pmi2", "-E"]], ids=" ".join)
def test_an_mpich_that_slurm_does_not_reach_makes_singletons(site: MpiSite, words: list[str]):
    """It is no error to anybody; docs/mpi-gpu.md tells how to notice."""
    mpi, *options = words

    done = site.ring("mpich", f"--image={OWN}", *options, mpi=mpi)

    assert done.returncode == 0, done.stderr
    assert {(rank, size) for rank, size, *_ in world_of(done.stdout)} == {(0, 1)}
    assert done.stdout.count(" of 1 ") == 6


def test_an_openmpi_that_slurm_does_not_reach_fails(site: MpiSite):
    done = site.ring("openmpi", f"--image={OWN}", mpi="pmi2")

    assert done.returncode != 0
    assert "OPAL ERROR: Unreachable in file ext3x_client.c" in done.stderr


def test_without_slurms_directory_openmpi_complains_but_works(site: MpiSite):
    with site.cluster.settings():
        done = site.ring("openmpi", f"--image={OWN}", mpi="pmix")

    assert world_of(done.stdout) == ONE_WORLD
    assert "gds_ds12_lock_pthread.c" in done.stderr
