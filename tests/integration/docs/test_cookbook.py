# SPDX-License-Identifier: BSD-3-Clause
"""Recipes of the cookbook that say so are built by buildah, and what they make is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import require_program
from tests.integration.docs.examples import DOCS, ROOT, blocks

pytestmark = pytest.mark.root

RECIPES = [block for block in blocks(DOCS / "cookbook.md") if block.language == "dockerfile"]
BUILT = [block for block in RECIPES if block.info == "built"]

BASE = "stand-in"
LEFT_OUT = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale")
HELLO = '#include <stdio.h>\nint main(void) { puts("hello from nothing"); }\n'

# The packages are those of this machine: nothing is fetched.
APT_GET = """\
#!/bin/sh
# Says whether the base has all that is asked for.
[ "$1" = update ] && exit 0
shift
for word; do
    case $word in -*) continue ;; esac
    grep -qx "$word" /packages || { echo "no package $word"; exit 1; }
done
"""


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    directory = tmp_path_factory.mktemp("buildah")
    storage = [f"--root={directory}/storage", f"--runroot={directory}/run", "--storage-driver=vfs"]

    def run(*words, **options):
        done = subprocess.run(
            [require_program("buildah"), *storage, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False,
            **options,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    make_base(run, directory)
    return run


def make_base(run, directory):
    """An image of the packages that recipes install, as they are on this machine."""
    wanted = {name for block in BUILT for name in packages_of(block.text)}
    present = closure({"bash", "coreutils", "dash", "grep", *wanted})
    (directory / "packages").write_text("".join(f"{name}\n" for name in sorted(present)))
    (directory / "apt-get").write_text(APT_GET)
    (directory / "apt-get").chmod(0o755)
    listed = subprocess.run(
        ["dpkg", "-L", *sorted(present)], check=True, capture_output=True, text=True
    ).stdout
    lines = [Path(line) for line in listed.splitlines() if line.startswith("/") and line != "/."]
    lines += map(Path, ("/usr/local", "/usr/local/bin", "/tmp"))
    lines += [*Path("/etc/alternatives").iterdir(), *links_to_alternatives()]
    # Where a package says /lib, it is /usr/lib, of which /lib is a link.
    paths = {path.parent.resolve() / path.name for path in lines}
    wanted_paths = sorted(
        path
        for path in paths
        if (path.is_symlink() or path.exists()) and not str(path).startswith(LEFT_OUT)
    )
    (directory / "list").write_text("".join(f"{path}\n" for path in wanted_paths))
    tree = directory / "base.tar"
    subprocess.run(
        ["tar", "-C", "/", "--no-recursion", "-cf", tree, "-T", directory / "list"],
        check=True, capture_output=True,
    )  # fmt: skip
    container = run("from", "scratch").strip()
    run("add", "--quiet", container, str(tree), "/")
    run("add", "--quiet", container, str(directory / "apt-get"), "/usr/bin/apt-get")
    run("add", "--quiet", container, str(directory / "packages"), "/packages")
    run("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
    run("commit", "--quiet", "--rm", container, BASE)
    tree.unlink()


def packages_of(text):
    """What a recipe installs."""
    for command in re.findall(r"apt-get install ((?:[^&\n]|\\\n)*)", text):
        yield from (word for word in command.replace("\\", " ").split() if word[0] != "-")


def closure(names):
    listed = subprocess.run(
        ["apt-cache", "depends", "--recurse", "--important", "--installed", *sorted(names)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = set(re.findall(r"(?m)^([a-z0-9][\w.+-]*)(?::\w+)?$", listed))
    installed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Package}\n"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return found & {line[3:].strip() for line in installed.splitlines() if line.startswith("ii")}


def links_to_alternatives():
    libraries = f"/usr/lib/{os.uname().machine}-linux-gnu"
    for directory in ("/usr/bin", libraries, "/usr/include"):
        for path in Path(directory).glob("*"):
            if path.is_symlink() and str(path.readlink()).startswith("/etc/alternatives/"):
                yield path


@pytest.fixture
def make(buildah, as_new, tmp_path):
    """`make(n)`: builds the n-th of the recipes, and has alice import it; what she calls it."""

    def make(number, name):
        text = BUILT[number].text
        (tmp_path / "Dockerfile").write_text(re.sub(r"FROM debian:\S+", f"FROM {BASE}", text))
        shutil.copy(ROOT / "tests/integration/mpi/ring.c", tmp_path)
        (tmp_path / "hello.c").write_text(HELLO)
        subprocess.run(
            [require_program("musl-gcc"), "-static", "-o", "hello", "hello.c"],
            cwd=tmp_path, check=True,
        )  # fmt: skip
        buildah(
            "bud", "--quiet", "--isolation=chroot", "--pull-never", "--tag", name, str(tmp_path)
        )
        archive = tmp_path / f"{name}.tar"
        buildah("push", "--quiet", name, f"oci-archive:{archive}")
        shared = as_new.node("ctl").root / f"global/scratch/{name}.tar"
        shutil.copyfile(archive, shared)
        shared.chmod(0o644)
        as_new.output(
            "ctl", "shifterimg", "import", f"/global/scratch/{name}.tar", f"{name}:1", user="alice"
        )
        shared.unlink()
        return f"custom:{name}:1"

    return make


def test_every_recipe_is_built_or_says_why_not():
    assert len(BUILT) == 3
    for block in RECIPES:
        assert block in BUILT or len(block.info.removeprefix("unbuilt: ")) > 10


def test_a_program_without_any_system(make, as_new):
    image = make(0, "hello")

    shown = as_new.output("ctl", "shifter", f"--image={image}", "--entrypoint", user="alice")

    assert shown == "hello from nothing\n"


@pytest.mark.parametrize(
    ("number", "name", "launcher"), [(1, "mpich", "pmi2"), (2, "ompi", "pmix")]
)
def test_a_program_of_an_mpi(make, as_new, number, name, launcher):
    image = make(number, name)

    shown = as_new.srun(
        "-N2", "-n2", f"--mpi={launcher}", f"--image={image}", "shifter", "ring",
        user="alice", env={"RING_LEAVES_OPEN": "1"},
    )  # fmt: skip

    assert shown.stdout.count(" of 2 on ") == 2, shown.stdout + shown.stderr
