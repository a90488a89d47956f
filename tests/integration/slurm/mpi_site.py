# SPDX-License-Identifier: BSD-3-Clause
"""A site with MPI: images with their own, images without, and the nodes' as modules."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.integration.mpi.conftest import (
    GLIBC,
    HERE,
    LIBRARIES,
    add_plugins,
    compile_with,
    copy_to,
    libraries_of,
)

KINDS = ("mpich", "openmpi")
OWN, BARE = "docker:mpi/own:1", "docker:mpi/bare:1"

_RANK = re.compile(r"^rank (\d+) of (\d+) on (\S+): left (-?\d+), sum (\d+), (.*)$", re.MULTILINE)
# MPICH 4.0 and 4.1 may not come out of MPI_Finalize over TCP, with containers or without.
_LEAVE_OPEN = {"RING_LEAVES_OPEN": "1"}
# Quietly: with no word about waiting for nodes.
_SIX_ON_THREE = ("--quiet", "-N3", "-n6", "--ntasks-per-node=2", "--kill-on-bad-exit")
_SITE_FS = "/global/home:/global/home; /var/spool/slurmd:/var/spool/slurmd"


class MpiSite:
    """Runs `ring` in steps of Slurm, in images that the site's gateway has."""

    def __init__(self, cluster: Cluster, scratch: Path) -> None:
        self.cluster = cluster
        self._scratch = scratch
        compile_rings(scratch)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Push and pull the images, and make the modules as an administrator does."""
        for image, own in ((OWN, True), (BARE, False)):
            name = image.removeprefix("docker:")
            self.cluster.push_image(name, files=_files(self._image_tree(own=own)))
            self.cluster.pull(image)
        modules = self.cluster.prefix / "mpi-modules"
        keys = {}
        for kind in KINDS:
            lines = self.cluster.output(
                "ctl", self.cluster.prefix / "bin/shifter-admin", "module", "prepare", kind,
                "--from", LIBRARIES, "--into", modules, user="root",
            )  # fmt: skip
            keys |= dict(line.split(" = ", 1) for line in lines.splitlines() if " = " in line)
        try:
            with self.cluster.settings(**{"siteFs": _SITE_FS} | keys):
                yield
        finally:
            shutil.rmtree(modules)

    def ring(
        self, kind: str, *words: str, mpi: str, srun: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`srun SRUN --mpi=MPI shifter WORDS ring`, as alice; six ranks on three nodes."""
        return self.cluster.srun(
            *_SIX_ON_THREE, *srun, f"--mpi={mpi}", "shifter", *words, f"/bin/ring.{kind}",
            env=_LEAVE_OPEN,
        )  # fmt: skip

    def _image_tree(self, *, own: bool) -> Path:
        """Both rings, with both MPIs, or with glibc and an MPICH that knows no launcher."""
        tree = self._scratch / ("own" if own else "bare")
        (tree / "bin").mkdir(parents=True)
        for kind in KINDS:
            program = self._scratch / f"ring.{kind}"
            shutil.copy2(program, tree / "bin")
            for library in libraries_of(program):
                if own or GLIBC.match(library.name):
                    copy_to(tree, library)
            if own:
                add_plugins(tree, kind)
        if not own:
            place = tree / LIBRARIES.relative_to("/")
            place.mkdir(parents=True)
            shutil.copy2(self._scratch / "libmpich.so.12", place)
        return tree


def compile_rings(directory: Path) -> None:
    """`ring` for each MPI, and a library that stands for another build of MPICH."""
    for kind in KINDS:
        compile_with(f"mpicc.{kind}", HERE / "ring.c", "-o", directory / f"ring.{kind}")
    compile_with(
        "mpicc.mpich", "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libmpich.so.12", "-lc",
        HERE / "other_mpich.c", "-o", directory / "libmpich.so.12",
    )  # fmt: skip


def _files(tree: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }


def world_of(output: str) -> list[tuple[int, int, str, int, int]]:
    """Of each rank: itself, the number of ranks, where it is, who is left of it, and the sum."""
    return sorted(
        (int(rank), int(size), host, int(left), int(total))
        for rank, size, host, left, total, _ in _RANK.findall(output)
    )


def versions_of(output: str) -> set[str]:
    return {found[5] for found in _RANK.findall(output)}
