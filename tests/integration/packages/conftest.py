# SPDX-License-Identifier: BSD-3-Clause
"""Packages, built once, and machines that they are installed on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.packages.machine import ROOT, Machine, make_tree, running
from tests.integration.packages.site import IMAGE, Site, free_port

EPOCH = "1764547200"
PACKAGES = (
    *("shifter-client", "shifter-runtime", "shifter-imagegw", "shifter-slurm"),
    "shifter-sshd",
)
UDI_IMAGE = "usr/libexec/shifter/opt/udiImage"
_APPLETS = ("sh", "cat", "id", "ls", "true")


def build(checkout: Path, *arguments: str | Path) -> str:
    """What packaging/build printed."""
    done = subprocess.run(
        [checkout / "packaging/build", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
        text=True, timeout=600, check=False, env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


class Built:
    """Packages in `directory`, of two revisions of this release, and what the first build said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stage = directory / "stage"
        self.said = ""

    def files(self, ending: str, revision: int = 1) -> list[str]:
        """Their names in the directory that the machine has as /packages."""
        found = sorted(
            path.name
            for path in self.directory.glob(f"*.{ending}")
            if f"-{revision}_" in path.name or f"-{revision}." in path.name
        )
        assert len(found) == len(PACKAGES)
        return [f"/packages/{name}" for name in found]

    def control(self, package: str) -> str:
        """The fields of a .deb."""
        (path,) = self.directory.glob(f"{package}_*-1_*.deb")
        return subprocess.run(
            ["dpkg-deb", "--field", path], check=True, capture_output=True, text=True
        ).stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    packages = Built(tmp_path_factory.mktemp("packages"))
    packages.directory.chmod(0o755)
    # What `./check` has built in two minutes is not built again: install keeps what it finds there.
    if not (ROOT / ".openssh/etc/built").exists():
        pytest.fail("there is no .openssh: tools/build_openssh .openssh makes it", pytrace=False)
    shutil.copytree(ROOT / ".openssh", packages.stage / UDI_IMAGE)
    into = ("--into", packages.directory, "--stage", packages.stage, "--with-sshd")
    packages.said = build(ROOT, "deb", "rpm", *into)
    build(ROOT, "deb", "rpm", *into, "--revision", "2")
    return packages


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root tree of a clean Debian."""
    tree = tmp_path_factory.mktemp("debian") / "tree"
    make_tree(tree)
    return tree


@pytest.fixture(scope="session")
def installed(
    debian: Path, built: Built, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine on which apt has just installed all packages, and munge. Nobody changes it."""
    with running(tmp_path_factory.mktemp("machines"), debian) as machine:
        machine.lend(built.directory, "/packages")
        machine.run("apt-get", "update")
        machine.install(*built.files("deb"), "munge")
        yield machine


@pytest.fixture(scope="session")
def application(push_image: Callable[..., object], make_layer: Callable[..., bytes]) -> None:
    """An image of busybox in the registry."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.fail("busybox is missing: apt-get install busybox-static", pytrace=False)
    links = [(f"bin/{name}", "->busybox") for name in _APPLETS]
    directories = [(name, None) for name in ("bin", "etc", "home", "tmp")]
    layers = [
        make_layer(*directories, ("bin/busybox", Path(busybox).read_bytes()), *links),
        make_layer(("etc/edition", b"from the registry\n")),
    ]
    push_image(IMAGE, layers, {"Env": ["PATH=/bin"]})


@pytest.fixture(scope="session")
def start_site(registry: object, wait_for: Callable[..., object]) -> Callable[..., Site]:
    """`start_site(machine)`: configured as the examples say, with gateway and munge running."""

    def start(machine: Machine, *, configure: bool = True) -> Site:
        site = Site(machine, registry.url, free_port())  # type: ignore[attr-defined]
        if configure:
            site.configure()
        else:
            port = f"s|^imageGateway = .*|imageGateway = http://127.0.0.1:{site.port}|"
            machine.run("sed", "-i", port, "/etc/shifter/udiRoot.conf")
        site.start()
        with show_log_on_failure(machine):
            wait_for(site.is_up, seconds=40, what="the gateway")
        return site

    return start


@contextlib.contextmanager
def show_log_on_failure(machine: Machine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        print(machine.run("cat", "/tmp/gateway.log", check=False).stdout[-3000:])
        raise


@pytest.fixture(scope="session")
def site(installed: Machine, application: None, start_site: Callable[..., Site]) -> Iterator[Site]:
    """A site with one image, on a copy of the machine; nobody changes what is installed there."""
    with installed.copy() as machine:
        started = start_site(machine)
        started.pull()
        yield started
