# SPDX-License-Identifier: BSD-3-Clause
"""Shifter as a site has it: installed below a prefix, with its configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks import programs
from benchmarks.programs import BenchmarkError
from shifter_common.errors import ShifterError
from shifter_runtime import config as runtime_config

CHECKOUT = Path(__file__).resolve().parent.parent
SYSTEM = "benchmark"

RUNTIME = """\
udiMount = {prefix}/udiMount
loopMount = {prefix}/loopMount
imagePath = {images}
udiRootPath = {prefix}
etcPath = {prefix}/etc/shifter_etc_files
populateEtcDynamically = 1
allowLibcPwdCalls = 1
rootfsType = tmpfs
imageGateway = {gateway_url}
gatewayTimeout = 30
mungeSocketPath = {munge_socket}
system = {system}
defaultImageType = docker
"""


@dataclasses.dataclass(frozen=True)
class Served:
    """A gateway that runs: its URL, the process that its workers are below, and its logs."""

    url: str
    pid: int
    logs: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class Installation:
    """Where the programs of one installation are."""

    prefix: Path

    @property
    def shifter(self) -> Path:
        return self.prefix / "bin" / "shifter"

    @property
    def shifterimg(self) -> Path:
        return self.prefix / "bin" / "shifterimg"

    @property
    def gateway(self) -> Path:
        return self.prefix / "bin" / "shifter-gateway"

    @property
    def config(self) -> Path:
        return self.prefix / "etc" / "udiRoot.conf"

    @property
    def images(self) -> Path:
        """The directory in which the runtime looks for images."""
        try:
            return Path(runtime_config.load(str(self.config)).image_path)
        except ShifterError as error:
            raise BenchmarkError(str(error)) from error

    def configure(
        self,
        images: Path,
        *,
        gateway_url: str = "",
        munge_socket: Path | str = "",
        **more: object,
    ) -> None:
        """Write udiRoot.conf, with `more` keys; only for an installation of the benchmark's own."""
        images.mkdir(parents=True, exist_ok=True)
        text = RUNTIME.format(
            prefix=self.prefix,
            images=images,
            gateway_url=gateway_url,
            munge_socket=munge_socket,
            system=SYSTEM,
        )
        text += "".join(f"{key} = {value}\n" for key, value in more.items())
        self.config.write_text(text)


def temporary(work: Path) -> Installation:
    """Install this checkout below the work directory, where it goes when that goes."""
    prefix = work / "prefix"
    programs.run([CHECKOUT / "install", "--prefix", prefix])
    return Installation(prefix)


def existing(prefix: Path) -> Installation:
    installation = Installation(prefix)
    if not installation.shifter.exists():
        raise BenchmarkError(f"{installation.shifter} does not exist: is Shifter installed there?")
    return installation


@contextlib.contextmanager
def munge(work: Path) -> Iterator[Path]:
    """A munge daemon with a key of its own; gives its socket."""
    if absent := programs.missing("munged"):
        raise BenchmarkError(f"{absent}; the gateway knows its callers by munge")
    directory = work / "munge"
    directory.mkdir(mode=0o755, exist_ok=True)
    key, socket = directory / "key", directory / "socket"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    names = {"key-file": key, "socket": socket}
    names |= {name: directory / name for name in ("pid-file", "log-file", "seed-file")}
    options = [f"--{name}={path}" for name, path in names.items()]
    # Forced, because it would rather not run as root, who is the owner of all this.
    with programs.running(
        ["munged", "--foreground", "--force", *options],
        work / "munged.log",
        ready=socket.exists,
    ):
        yield socket


@contextlib.contextmanager
def gateway(
    installation: Installation,
    directory: Path,
    *,
    registry_url: str,
    munge_socket: Path,
    images: Path,
    catalog: Path | None = None,
) -> Iterator[Served]:
    """Serve with nothing cached, its files below `directory`; `catalog` is moved there."""
    directory.mkdir(parents=True)
    if catalog is not None:
        shutil.move(catalog, directory / "catalog.sqlite")
    config = configured(directory, registry_url, munge_socket, images)
    url = directory / "url"
    with programs.running(
        [
            *(installation.gateway, "serve", "--config", config),
            *("--bind", "127.0.0.1:0", "--ready-file", url),
        ],
        directory / "gateway.log",
        ready=lambda: url.exists() and url.read_text().endswith("\n"),
    ) as pid:
        yield Served(url.read_text().strip(), pid, (directory / "gateway.log",))


def configured(
    directory: Path,
    registry_url: str,
    munge_socket: Path,
    images: Path,
    more: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """Write imagemanager.json, with `more` in it; make the directory that images go to."""
    images.mkdir(parents=True, exist_ok=True)
    config = directory / "imagemanager.json"
    settings = _gateway_config(directory, registry_url, munge_socket, images)
    config.write_text(json.dumps(settings | dict(more)))
    return config


def _gateway_config(
    directory: Path, registry_url: str, munge_socket: Path, images: Path
) -> dict[str, object]:
    return {
        "DefaultImageLocation": "benchmark",
        "DefaultImageFormat": "squashfs",
        "CacheDirectory": str(directory / "cache"),
        "ExpandDirectory": str(directory / "expand"),
        "CatalogPath": str(directory / "catalog.sqlite"),
        "ImageExpirationTimeout": "90:00:00:00",
        "Authentication": "munge",
        "LogLevel": "info",
        "Locations": {
            "benchmark": {"remotetype": "dockerv2", "url": registry_url, "authentication": "http"}
        },
        "Platforms": {
            SYSTEM: {
                "mungeSocketPath": str(munge_socket),
                "accesstype": "local",
                "admins": ["root"],
                "local": {"imageDir": str(images)},
            }
        },
    }
