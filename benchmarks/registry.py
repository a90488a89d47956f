# SPDX-License-Identifier: BSD-3-Clause
"""A docker-registry of our own on the loopback interface, filled by plain HTTP."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import requests

from benchmarks import programs
from benchmarks.programs import BenchmarkError

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {storage}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
TIMEOUT = 600  # seconds for one request; a blob may be hundreds of megabytes
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Registry:
    """A running registry; `address` is host:port."""

    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def push_blob(self, repository: str, digest: str, file: Path) -> None:
        upload = self._send("POST", f"{self.url}/v2/{repository}/blobs/uploads/")
        place = upload.headers["Location"]
        separator = "&" if "?" in place else "?"
        with file.open("rb") as content:
            self._send("PUT", f"{place}{separator}digest={digest}", content)

    def push_manifest(
        self, repository: str, registry_tag: str, media_type: str, manifest: bytes
    ) -> None:
        url = f"{self.url}/v2/{repository}/manifests/{registry_tag}"
        self._send("PUT", url, manifest, {"Content-Type": media_type})

    def read_blob(self, repository: str, digest: str) -> int:
        """Fetch a blob and throw it away, so that it is in the page cache; how long it is."""
        url = f"{self.url}/v2/{repository}/blobs/{digest}"
        with requests.get(url, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            return sum(len(chunk) for chunk in answer.raw.stream(CHUNK, decode_content=False))

    def _send(
        self,
        method: str,
        url: str,
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        answer = requests.request(
            method,
            url,
            data=body,  # type: ignore[arg-type]
            headers=headers or {"Content-Type": "application/octet-stream"},
            timeout=TIMEOUT,
        )
        if not answer.ok:
            raise BenchmarkError(f"{method} {url} answered {answer.status_code}: {answer.text}")
        return answer


@contextlib.contextmanager
def running(work: Path) -> Iterator[Registry]:
    """Serve what `<work>/registry` holds, from an earlier run too, until the block ends."""
    if absent := programs.missing("docker-registry"):
        raise BenchmarkError(f"{absent}; the image to pull is kept in it")
    port = programs.free_port()
    config = work / "registry.yml"
    config.write_text(CONFIG.format(storage=work / "registry", port=port))
    with programs.running(
        ["docker-registry", "serve", config],
        work / "registry.log",
        ready=lambda: programs.listens(port),
    ):
        yield Registry(f"127.0.0.1:{port}")
