# SPDX-License-Identifier: BSD-3-Clause
"""Real servers for tests: a registry, munge, the embedded gateway; and images made of scratch.

A program that is missing fails the test that needs it, and says how to get it: a test that skips
proves nothing. Every server is stopped by the id of its process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from shifter_common import munge
from tests.cluster.fixture import cluster  # noqa: F401
from tests.integration.installation import (  # noqa: F401 - fixtures for every folder below
    installation,
    script,
    unused_prefix,
)
from tests.integration.runtime.batch import batch  # noqa: F401
from tests.integration.runtime.node_fixtures import installed_node, node  # noqa: F401

SYSTEM = "cluster"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

_PACKAGES = {
    "chromium": "chromium",
    "docker-registry": "docker-registry",
    "glusterfs": "glusterfs-client",
    "glusterfsd": "glusterfs-server",
    "ip": "iproute2",
    "mpicc.mpich": "libmpich-dev",
    "mpicc.openmpi": "libopenmpi-dev",
    "mpiexec.hydra": "mpich",
    "mpirun.openmpi": "openmpi-bin",
    "munged": "munge",
    "nsenter": "util-linux",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
    "tar2sqfs": "squashfs-tools-ng",
    "unsquashfs": "squashfs-tools",
    "unshare": "util-linux",
}


def require_program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(
            f"{name} is missing: apt-get install {_PACKAGES.get(name, name)}", pytrace=False
        )
    return path


def wait_until(condition: Callable[[], Any], *, seconds: float = 20, what: str = "") -> Any:
    """The first true value of `condition`, looked at often; fails the test when time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    return pytest.fail(f"waited {seconds} s in vain{' for ' + what if what else ''}")


def stop_process(process: subprocess.Popen[Any], seconds: float = 15) -> int:
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def layer(*entries: tuple[str, Any]) -> bytes:
    """A gzip layer of `(path, content)` entries.

    Content is bytes (a file), None (a directory), a str that starts with `->` (a symbolic link) or
    with `=` (a hard link), or a `tarfile.TarInfo` for everything else.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in entries:
            archive.addfile(*_tar_member(path, content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


def _tar_member(path: str, content: Any) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    if isinstance(content, tarfile.TarInfo):
        return content, None
    member = tarfile.TarInfo(path)
    member.mode = 0o755
    if content is None:
        member.type = tarfile.DIRTYPE
    elif isinstance(content, bytes):
        member.size = len(content)
        return member, io.BytesIO(content)
    elif content.startswith("->"):
        member.type, member.linkname = tarfile.SYMTYPE, content.removeprefix("->").strip()
    else:
        member.type, member.linkname = tarfile.LNKTYPE, content.removeprefix("=").strip()
    return member, None


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclasses.dataclass
class Registry:
    """A running docker-registry; `storage` is its directory, for tests that tamper with it."""

    url: str
    storage: Path
    process: subprocess.Popen[bytes]
    verify: str | bool = True
    login: tuple[str, str] | None = None

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def blob_path(self, digest: str) -> Path:
        algorithm, _, hexadecimal = digest.partition(":")
        blobs = self.storage / "docker/registry/v2/blobs"
        return blobs / algorithm / hexadecimal[:2] / hexadecimal / "data"

    def push(
        self, name: str, layers: Sequence[bytes], config: dict[str, Any] | None = None
    ) -> PushedImage:
        """Push gzip layers as `repository:tag`; `config` is the OCI `config` object."""
        repository, _, tag = name.partition(":")
        content = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(gzip.decompress(x)) for x in layers]},
        }
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": self._push_blob(repository, json.dumps(content).encode(), OCI_CONFIG),
                "layers": [self._push_blob(repository, blob, OCI_LAYER) for blob in layers],
            }
        ).encode()
        self._request(
            "PUT",
            f"{self.url}/v2/{repository}/manifests/{tag or 'latest'}",
            data=manifest,
            headers={"Content-Type": OCI_MANIFEST},
        )
        return PushedImage(name, sha256(manifest), [sha256(blob) for blob in layers])

    def _push_blob(self, repository: str, blob: bytes, media_type: str) -> dict[str, Any]:
        upload = self._request("POST", f"{self.url}/v2/{repository}/blobs/uploads/")
        location = upload.headers["Location"]
        separator = "&" if "?" in location else "?"
        self._request("PUT", f"{location}{separator}digest={sha256(blob)}", data=blob)
        return {"mediaType": media_type, "digest": sha256(blob), "size": len(blob)}

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        answer = requests.request(
            method, url, verify=self.verify, auth=self.login, timeout=30, **options
        )
        answer.raise_for_status()
        return answer


@dataclasses.dataclass
class PushedImage:
    """What was pushed: `reference` is what a user types."""

    name: str
    digest: str
    layer_digests: list[str]

    @property
    def reference(self) -> str:
        return f"docker:{self.name}"

    @property
    def image_id(self) -> str:
        return self.digest.partition(":")[2]


@contextlib.contextmanager
def running_registry(
    directory: Path, settings: dict[str, Any] | None = None, **attributes: Any
) -> Iterator[Registry]:
    """Run a registry that keeps its blobs below `directory`; `settings` grow its configuration."""
    program = require_program("docker-registry")
    port = free_port()
    storage = directory / "storage"
    scheme = "https" if settings and "tls" in settings.get("http", {}) else "http"
    content = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        **(settings or {}),
        "http": {**(settings or {}).get("http", {}), "addr": f"127.0.0.1:{port}"},
    }
    configuration = directory / "registry.yml"
    configuration.write_text(json.dumps(content))  # JSON is YAML
    with (directory / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", configuration], stdout=log, stderr=log)
    try:
        url = f"{scheme}://127.0.0.1:{port}"
        registry = Registry(url, storage, process, **attributes)
        wait_until(lambda: _answers(f"{url}/v2/", registry.verify), what="the registry")
        yield registry
    finally:
        stop_process(process)


def _answers(url: str, verify: str | bool = True) -> bool:
    try:
        return requests.get(url, verify=verify, timeout=5).status_code in (200, 401)
    except requests.ConnectionError:
        return False


@contextlib.contextmanager
def running_munged(directory: Path) -> Iterator[Path]:
    """Run a munge daemon with a key of its own; gives its socket."""
    program = require_program("munged")
    key = directory / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    munge_socket = directory / "munge.socket"
    command = [
        program,
        "--foreground",
        f"--key-file={key}",
        f"--socket={munge_socket}",
        f"--pid-file={directory / 'munged.pid'}",
        f"--seed-file={directory / 'munged.seed'}",
    ]
    with (directory / "munged.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(munge_socket.exists, what="munged")
        yield munge_socket
    finally:
        stop_process(process)


@dataclasses.dataclass
class Gateway:
    """A `shifter-gateway serve` of a test's own, and a client of it that runs as this user."""

    directory: Path
    config: dict[str, Any]
    munge_socket: Path
    arguments: Sequence[str] = ()
    prefix: Sequence[str] = ()  # of the command, such as unshare
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def config_path(self) -> Path:
        return self.directory / "imagemanager.json"

    @property
    def image_dir(self) -> Path:
        return Path(self.config["Platforms"][SYSTEM]["local"]["imageDir"])

    @property
    def log(self) -> str:
        return (self.directory / "gateway.log").read_text(errors="replace")

    def start(self) -> None:
        self.config_path.write_text(json.dumps(self.config))
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        program = Path(sys.executable).with_name("shifter-gateway")
        with (self.directory / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, program, "serve", "--config", self.config_path,
                 "--bind", "127.0.0.1:0", "--ready-file", ready, *self.arguments],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            self.url = wait_until(lambda: self._ready(ready), what="the gateway")
        except BaseException:
            self.stop()
            raise

    def _ready(self, ready: Path) -> str:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"the gateway ended with {self.process.returncode}:\n{self.log[-3000:]}")
        url = ready.read_text().strip() if ready.exists() else ""
        return url if url and _answers(f"{url}/api/health/") else ""

    def stop(self) -> int:
        """Its exit status; 0 where it was never started."""
        return 0 if self.process is None else stop_process(self.process)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def processes(self) -> list[int]:
        """The ids of the gateway's processes, the supervisor first."""
        assert self.process is not None
        found, tree = [], [self.process.pid]
        while tree:
            pid = tree.pop(0)
            found.append(pid)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                tree += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        credential = munge.encode(options.pop("payload", b""), socket=str(self.munge_socket))
        headers = {"authentication": credential, **options.pop("headers", {})}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=30, **options)

    def pull(self, reference: str, **options: Any) -> dict[str, Any]:
        """Ask for an image once; `docker:lib/foo:1`."""
        answer = self.request("POST", f"/api/pull/{_path(reference)}", **options)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, reference: str, *, seconds: float = 30, **options: Any) -> dict[str, Any]:
        """Pull, and poll as a client does until the pull has ended."""

        def ended() -> dict[str, Any] | None:
            record = self.pull(reference, **options)
            return record if record["status"] in ("READY", "FAILURE") else None

        return dict(wait_until(ended, seconds=seconds, what=f"the pull of {reference}"))

    def lookup(self, reference: str) -> requests.Response:
        return self.request("GET", f"/api/lookup/{_path(reference)}")

    def partial_files(self) -> list[str]:
        return [name for name in os.listdir(self.image_dir) if name.endswith(".partial")]


def _path(reference: str) -> str:
    image_type, _, tag = reference.partition(":")
    return f"{SYSTEM}/{image_type}/{requests.utils.quote(tag, safe='')}/"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def run_registry() -> Callable[..., contextlib.AbstractContextManager[Registry]]:
    """For a registry of a test's own; see `running_registry`."""
    return running_registry


@pytest.fixture(scope="session")
def push_image(registry: Registry) -> Callable[..., PushedImage]:
    """`push_image(name, layers, config)`; see `Registry.push` and `make_layer`."""
    return registry.push


@pytest.fixture(scope="session")
def make_layer() -> Callable[..., bytes]:
    return layer


@pytest.fixture(scope="session")
def run_munged() -> Callable[[], contextlib.AbstractContextManager[Path]]:
    """`with run_munged() as socket`: a munge daemon with a key that no other has."""

    @contextlib.contextmanager
    def run() -> Iterator[Path]:
        # Not below pytest's directories: those are closed to others, and a socket's path is short.
        directory = Path(tempfile.mkdtemp(prefix="shifter-munge-"))
        directory.chmod(0o755)
        try:
            with running_munged(directory) as munge_socket:
                yield munge_socket
        finally:
            shutil.rmtree(directory)

    return run


@pytest.fixture(scope="session")
def munged(run_munged: Callable[[], contextlib.AbstractContextManager[Path]]) -> Iterator[Path]:
    """The socket of a munge daemon that every user of this machine may reach."""
    with run_munged() as munge_socket:
        yield munge_socket


@contextlib.contextmanager
def gateways(
    registry: Registry, munge_socket: Path, directories: pytest.TempPathFactory
) -> Iterator[Callable[..., Gateway]]:
    for program in ("tar2sqfs", "unsquashfs"):
        require_program(program)
    made: list[Gateway] = []

    def make(
        *,
        start: bool = True,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
        **config: Any,
    ) -> Gateway:
        directory = directories.mktemp("gateway")
        (directory / "images").mkdir()
        content = _gateway_config(directory, registry, munge_socket) | config
        gateway = Gateway(directory, content, munge_socket, arguments, prefix)
        made.append(gateway)
        if start:
            gateway.start()
        return gateway

    try:
        yield make
    finally:
        for gateway in made:
            gateway.stop()


@pytest.fixture
def make_gateway(
    registry: Registry, munged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Gateway]]:
    """`make_gateway(start=True, arguments=(), prefix=(), **config)`: a gateway of a test's own."""
    with gateways(registry, munged, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def gateway(
    registry: Registry, munged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """The gateway that tests share; one that harms its gateway makes its own."""
    with gateways(registry, munged, tmp_path_factory) as make:
        yield make(arguments=["--workers", "2"])


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    return wait_until


def _gateway_config(directory: Path, registry: Registry, munge_socket: Path) -> dict[str, Any]:
    return {
        "DefaultImageLocation": "default",
        "DefaultImageFormat": "squashfs",
        "PullUpdateTimeout": 300,
        "ImageExpirationTimeout": "90:00:00:00",
        "CacheDirectory": str(directory / "cache"),
        "ExpandDirectory": str(directory / "expand"),
        "LogLevel": "debug",
        "Locations": {"default": {"remotetype": "dockerv2", "url": registry.url}},
        "Platforms": {
            SYSTEM: {
                "mungeSocketPath": str(munge_socket),
                "accesstype": "local",
                "local": {"imageDir": str(directory / "images")},
                "admins": ["root"],
            }
        },
    }
