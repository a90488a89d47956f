# SPDX-License-Identifier: BSD-3-Clause
"""MPI programs, images that hold them, and modules that `shifter-admin` made of the node's MPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import require_program
from tests.integration.runtime.node import ALICE, Node

HERE = Path(__file__).parent
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
GLIBC = re.compile(r"^(ld-linux.*|lib(c|m|pthread|dl|rt|resolv)\.so\.\d+)$")

# What an image has that was built with the distribution's packages: files that no ELF header names.
PLUGINS = {
    "mpich": [LIBRARIES / "ucx"],
    "openmpi": [
        LIBRARIES / "openmpi/lib/openmpi3",
        LIBRARIES / "pmix2/lib/pmix",
        Path("/etc/openmpi"),
    ],
}


class Cluster:
    """A node with MPI launchers on which users start `ring` in containers."""

    def __init__(self, node: Node, programs: Path, scratch: Path) -> None:
        self.node = node
        self.programs = programs
        self.scratch = scratch  # of the launchers: below /tmp, which containers see
        self.modules = node.prefix / "modules"
        self.admin = node.prefix / "bin/shifter-admin"

    def prepare(self, kind: str, *options: str) -> None:
        """Make a module and put its lines into udiRoot.conf, as an administrator does."""
        done = self.ask_admin("module", "prepare", kind, *options)
        assert done.returncode == 0, done.stderr
        with self.node.config.open("a") as file:
            file.write(done.stdout)

    def ask_admin(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.admin, *words], capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL, **options,  # type: ignore[call-overload]
        )  # fmt: skip

    def launch(
        self, kind: str, *options: str, ranks: int = 4, image: str = "a" * 64
    ) -> subprocess.CompletedProcess[str]:
        """Run `ring` in containers by the launcher of the node, as an invented user."""
        launcher = {
            "mpich": ["mpiexec.hydra", "-n", str(ranks)],
            "openmpi": ["mpirun.openmpi", "--oversubscribe", "-n", str(ranks)],
        }[kind]
        return subprocess.run(
            [*launcher, self.node.launcher, f"--image=id:{image}", *options, "/bin/ring"],
            user=ALICE, group=ALICE, extra_groups=[ALICE], cwd=self.scratch, text=True,
            env={"PATH": "/usr/bin:/bin"} | dict.fromkeys(["HOME", "TMPDIR"], str(self.scratch)),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    def add_image(
        self, kind: str, *, with_mpi: bool = False, change: Callable[[Path], None] | None = None
    ) -> None:
        """An image with `ring`, the loader and glibc, and the whole MPI if asked for."""

        def make(tree: Path) -> None:
            program = self.programs / f"ring.{kind}"
            shutil.copy2(program, tree / "bin/ring")
            for library in libraries_of(program):
                if with_mpi or GLIBC.match(library.name):
                    copy_to(tree, library)
            if with_mpi:
                add_plugins(tree, kind)
            if change:
                change(tree)

        self.node.add_image(make)


def add_plugins(tree: Path, kind: str) -> None:
    for directory in PLUGINS[kind]:
        for path in directory.glob("*"):
            if path.suffix in (".a", ".la"):
                continue
            copy_to(tree, path)
            for library in libraries_of(path) if ".so" in path.name else ():
                copy_to(tree, library)


def libraries_of(program: Path) -> list[Path]:
    """By ldd: these files are the distribution's, so that its loader may run them."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def copy_to(tree: Path, path: Path) -> None:
    target = tree / path.relative_to("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path.resolve(), target)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ring` for each MPI, and a library that stands for another build of MPICH."""
    directory = tmp_path_factory.mktemp("programs")
    for name in ("mpicc.mpich", "mpicc.openmpi", "mpiexec.hydra", "mpirun.openmpi"):
        require_program(name)
    for kind in ("mpich", "openmpi"):
        compile_with(f"mpicc.{kind}", HERE / "ring.c", "-o", directory / f"ring.{kind}")
    compile_with(
        "mpicc.mpich", "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libmpich.so.12", "-lc",
        HERE / "other_mpich.c", "-o", directory / "libmpich.so.12",
    )  # fmt: skip
    return directory


def compile_with(compiler: str, *words: str | Path) -> None:
    subprocess.run([compiler, "-w", *words], check=True)


@pytest.fixture
def cluster(node: Node, programs: Path) -> Iterator[Cluster]:
    scratch = Path(tempfile.mkdtemp(prefix="shifter-mpi-", dir="/tmp"))
    os.chown(scratch, ALICE, ALICE)
    cluster = Cluster(node, programs, scratch)
    yield cluster
    shutil.rmtree(cluster.modules, ignore_errors=True)
    shutil.rmtree(scratch)
