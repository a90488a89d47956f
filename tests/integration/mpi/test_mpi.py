# SPDX-License-Identifier: BSD-3-Clause
"""Ranks that a launcher of the node starts in containers find each other, by either MPI."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.integration.mpi.conftest import LIBRARIES, Cluster

pytestmark = pytest.mark.root

RANK = re.compile(r"rank (\d+) of (\d+) on \S+: left (\d+), sum (\d+), (.*)")


def ranks_of(output: str) -> list[tuple[int, int, int, int]]:
    return sorted(tuple(map(int, found[:4])) for found in RANK.findall(output))


def versions_of(output: str) -> set[str]:
    return {found[4] for found in RANK.findall(output)}


WORLD_OF_4 = [(0, 4, 3, 6), (1, 4, 0, 6), (2, 4, 1, 6), (3, 4, 2, 6)]
FOUR_SINGLETONS = [(0, 1, 0, 0)] * 4


@pytest.mark.parametrize("kind", ["mpich", "openmpi"])
def test_ranks_in_an_image_with_its_own_mpi_form_one_world(cluster: Cluster, kind: str):
    cluster.add_image(kind, with_mpi=True)

    done = cluster.launch(kind)

    assert done.returncode == 0, done.stderr
    assert ranks_of(done.stdout) == WORLD_OF_4


def with_another_mpich(cluster: Cluster):
    def change(tree: Path) -> None:
        directory = tree / LIBRARIES.relative_to("/")
        directory.mkdir(parents=True)
        shutil.copy2(cluster.programs / "libmpich.so.12", directory)

    return change


def test_an_mpich_that_knows_no_launcher_makes_singletons(cluster: Cluster):
    cluster.add_image("mpich", change=with_another_mpich(cluster))

    done = cluster.launch("mpich")

    assert ranks_of(done.stdout) == FOUR_SINGLETONS
    assert versions_of(done.stdout) == {"the image's own"}


def test_the_nodes_mpich_takes_the_place_of_the_images(cluster: Cluster):
    cluster.add_image("mpich", change=with_another_mpich(cluster))
    cluster.prepare("mpich", "--from", str(LIBRARIES))

    done = cluster.launch("mpich", "--module=mpich")

    assert done.returncode == 0, done.stderr
    assert ranks_of(done.stdout) == WORLD_OF_4
    assert all("MPICH Version" in version for version in versions_of(done.stdout))


def test_the_nodes_openmpi_serves_an_image_without_mpi(cluster: Cluster):
    cluster.add_image("openmpi")
    without = cluster.launch("openmpi")
    cluster.prepare("openmpi", "--from", "/usr")

    done = cluster.launch("openmpi", "--module=openmpi")

    assert without.returncode != 0 and "libmpi.so.40" in without.stderr
    assert done.returncode == 0, done.stderr
    assert ranks_of(done.stdout) == WORLD_OF_4
    assert all("Open MPI" in version for version in versions_of(done.stdout))
