# SPDX-License-Identifier: BSD-3-Clause
"""Modules of the node held against images that a user may run, and a driver used in one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.integration.mpi.conftest import (
    GLIBC,
    LIBRARIES,
    Cluster,
    compile_with,
    copy_to,
    libraries_of,
)
from tests.integration.runtime.node import ALICE, IMAGE_ID
from tests.shared_objects import make_cache, make_library

pytestmark = pytest.mark.root

AS_ALICE = {"user": ALICE, "group": ALICE, "extra_groups": [ALICE], "env": {}, "cwd": "/"}
OLD = ["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.28"]


def with_old_glibc(tree: Path) -> None:
    """The libc is only looked at: `cat` of busybox needs none."""
    make_library(tree / LIBRARIES.relative_to("/") / "libc.so.6", versions=OLD)
    make_cache(tree)


def with_glibc_of_the_node(tree: Path) -> None:
    for library in libraries_of(LIBRARIES / "libmpichcxx.so.12"):
        if GLIBC.match(library.name) or library.name.startswith(("libstdc++", "libgcc_s")):
            copy_to(tree, library)


def test_a_user_checks_the_nodes_mpich_against_an_image(cluster: Cluster):
    cluster.prepare("mpich", "--from", str(LIBRARIES))
    cluster.node.add_image(with_glibc_of_the_node)

    done = cluster.ask_admin("module", "check", "mpich", "--image", f"id:{IMAGE_ID}", **AS_ALICE)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"mpich fits id:{IMAGE_ID} (needs GLIBC_2.")


def test_an_image_with_an_old_glibc_is_told_with_library_and_version(cluster: Cluster):
    cluster.prepare("mpich", "--from", str(LIBRARIES))
    cluster.node.add_image(with_old_glibc)

    done = cluster.ask_admin(
        "module", "check", "mpich", "--image", f"id:{IMAGE_ID}", "--json", **AS_ALICE
    )

    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["fits"], verdict["image_glibc"]) == (1, False, "GLIBC_2.28")
    [text] = [
        one["text"]
        for one in verdict["findings"]
        if one["library"] == "libmpich.so.12" and "libc.so.6" in one["text"]
    ]
    assert "GLIBC_2.34" in text
    assert text.endswith("of libc.so.6; the image's has GLIBC_2.28 at most")


def test_an_image_that_cannot_be_run_is_told_in_shifters_words(cluster: Cluster):
    cluster.prepare("mpich", "--from", str(LIBRARIES))

    done = cluster.ask_admin("module", "check", "mpich", "--image", "id:" + "b" * 64, **AS_ALICE)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"shifter-admin: cannot look into id:{'b' * 64}: shifter: ")


def test_an_image_without_programs_is_told_how_else_to_look_into_it(cluster: Cluster):
    cluster.prepare("mpich", "--from", str(LIBRARIES))
    cluster.node.add_image(lambda tree: shutil.rmtree(tree / "bin"))

    done = cluster.ask_admin("module", "check", "mpich", "--image", f"id:{IMAGE_ID}", **AS_ALICE)

    assert done.returncode == 1
    assert "unpack it and give its root by --tree" in done.stderr


def test_the_configuration_with_a_prepared_module_is_good(cluster: Cluster):
    # What the usual configuration of tests lacks to be a site's.
    cluster.node.configure(imageGateway=None, etcPath=None, populateEtcDynamically=1,
                           allowLibcPwdCalls=1)  # fmt: skip
    cluster.prepare("mpich", "--from", str(LIBRARIES))

    done = cluster.ask_admin("config", "check")

    assert done.returncode == 0, done.stdout
    assert "module mpich: " in done.stdout


def test_a_prepared_module_that_others_may_change_is_an_error(cluster: Cluster):
    cluster.prepare("mpich", "--from", str(LIBRARIES))
    (cluster.modules / "mpich/lib/libmpich.so.12").chmod(0o666)

    done = cluster.ask_admin("config", "check")

    assert done.returncode == 1
    assert "module_mpich_copyPath" in done.stdout and "writable by others" in done.stdout


SMI = """
#include <stdio.h>
int nvmlDriver(void);
int main(void) { printf("driver %d\\n", nvmlDriver()); return 0; }
"""


def test_programs_and_libraries_of_a_gpu_driver_work_in_an_image(cluster: Cluster, tmp_path: Path):
    root = tmp_path / "node"
    library = root / LIBRARIES.relative_to("/")
    (root / "usr/bin").mkdir(parents=True)
    library.mkdir(parents=True)
    (tmp_path / "ml.c").write_text("int nvmlDriver(void) { return 550; }\n")
    (tmp_path / "smi.c").write_text(SMI)
    for name in ("libcuda", "libnvidia-ml"):
        file = library / f"{name}.so.550.54.14"
        compile_with("gcc", "-shared", "-fPIC", "-o", file, f"-Wl,-soname,{name}.so.1",
                     tmp_path / "ml.c")  # fmt: skip
        (library / f"{name}.so.1").symlink_to(file.name)
    compile_with("gcc", "-o", root / "usr/bin/nvidia-smi", tmp_path / "smi.c",
                 library / "libnvidia-ml.so.1")  # fmt: skip
    make_cache(root)
    cluster.node.add_image(with_glibc_of_the_node)
    cluster.prepare("gpu", "--root", str(root), "--from", "/usr")

    done = cluster.node.run("--module=gpu", "nvidia-smi")

    assert (done.returncode, done.stdout) == (0, "driver 550\n"), done.stderr
    assert "SHIFTER_GPU=nvidia" in cluster.node.shell("env", "--module=gpu")
