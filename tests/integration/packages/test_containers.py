# SPDX-License-Identifier: BSD-3-Clause
"""Both Dockerfiles build on a clean Debian, and what they make works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.packages.machine import ROOT, Machine, running
from tests.integration.packages.site import IMAGE, free_port

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

BASE = "localhost/base"
AUTHORITIES = "/etc/authorities.crt"


class Buildah:
    """buildah with a store and a mount namespace of its own, so that nothing stays here."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("buildah")
        assert program is not None, "buildah is missing: apt-get install buildah"
        self.directory = directory
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "echo ready; exec sleep 3600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n"
        self.within = ["nsenter", f"--target={self.holder.pid}", "--mount"]
        # No overlay can lie on another one, as this machine's root may be.
        filesystem = ["stat", "--file-system", "--format=%T", str(directory)]
        kind = subprocess.run(filesystem, check=True, capture_output=True, text=True).stdout
        driver = "vfs" if kind.startswith("overlay") else "overlay"
        store = ["--root", f"{directory}/root", "--runroot", f"{directory}/run"]
        self.command = [*self.within, program, *store, f"--storage-driver={driver}"]

    def run(self, *words: str | Path, seconds: float = 500) -> str:
        done = subprocess.run(
            [*self.command, *words],
            stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=seconds, check=False, cwd=ROOT,
            env=os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self.directory)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()

    def close(self) -> None:
        self.holder.kill()
        self.holder.communicate()
        shutil.rmtree(self.directory)

    def build(self, dockerfile: str, name: str) -> None:
        self.run("bud", "--quiet", "--layers=false", f"--build-arg=BASE={BASE}",
                 f"--file={ROOT / 'docker' / dockerfile}", f"--tag={name}", ROOT)  # fmt: skip

    def mounted(self, image: str) -> Path:
        return Path(self.run("mount", self.run("from", "--pull-never", image)))

    def config(self, image: str) -> dict[str, object]:
        found = json.loads(self.run("inspect", "--type=image", image))["OCIv1"]["config"]
        return dict(found)


@pytest.fixture(scope="module")
def buildah(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With a base image of a clean Debian, which reaches PyPI as this machine does."""
    directory = tmp_path_factory.mktemp("buildah")
    directory.chmod(0o755)
    tool = Buildah(directory)
    try:
        make_base(tool, debian)
        yield tool
    finally:
        tool.close()


def make_base(tool: Buildah, debian: Path) -> None:
    container = tool.run("from", "scratch")
    tool.run("add", "--quiet", container, debian, "/")
    bundle = os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt")
    settings = {name: os.environ[name] for name in os.environ if name == "PIP_INDEX_URL"}
    if Path(bundle).exists():
        tool.run("add", "--quiet", container, bundle, AUTHORITIES)
        settings["PIP_CERT"] = AUTHORITIES
    tool.run("config", *(f"--env={name}={value}" for name, value in settings.items()), container)
    tool.run("commit", "--quiet", "--rm", container, BASE)


@pytest.fixture(scope="module")
def box(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A privileged container of the box, in which nothing runs yet."""
    buildah.build("Dockerfile.box", "localhost/box")
    tree = buildah.mounted("localhost/box")
    with running(tmp_path_factory.mktemp("box"), tree, buildah.within) as machine:
        yield machine


def test_the_image_of_the_gateway_makes_a_key_as_its_account(buildah, tmp_path):
    buildah.build("Dockerfile.gateway", "localhost/gateway")
    config = buildah.config("localhost/gateway")
    path = next(line for line in config["Env"] if line.startswith("PATH="))

    with running(tmp_path, buildah.mounted("localhost/gateway"), buildah.within) as machine:
        done = machine.run("env", path, "shifter-gateway", "key", user=config["User"])

    assert config["User"] == "shifter"
    assert len(done.stdout.strip()) == 44


def test_the_box_pulls_an_image_and_runs_it(box, buildah, registry, application):
    config = buildah.config("localhost/box")
    image = f"{registry.host}/{IMAGE}"
    shifter = f"shifter --image={image}"
    user = f"shifterimg pull {image} && {shifter} cat /etc/edition && {shifter} id"

    done = box.run(
        "env", f"SHIFTER_REGISTRY={registry.url}", f"SHIFTER_PORT={free_port()}",
        *config["Entrypoint"], "sh", "-c", user,
    )  # fmt: skip

    assert config["Cmd"] == ["bash"]
    assert "from the registry\n" in done.stdout
    assert "uid=" in done.stdout.splitlines()[-1]
    assert "(user)" in done.stdout.splitlines()[-1]


def test_the_box_says_which_registry_it_cannot_take(box, buildah):
    done = box.run(
        *("env", "SHIFTER_REGISTRY=registry.example.org", f"SHIFTER_PORT={free_port()}"),
        *buildah.config("localhost/box")["Entrypoint"], "true",
        check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "is to be like https://registry.example.org" in done.stdout
