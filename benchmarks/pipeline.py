# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's pipeline without the gateway, and the floors under it.

Called as `benchmarks.peers` is: `python -m benchmarks.pipeline NAME ADDRESS REPOSITORY:TAG
DIRECTORY`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import requests
from isal import isal_zlib

from benchmarks.image import MANIFEST
from shifter_imagegw.flatten import flatten
from shifter_imagegw.formats import squashfs
from shifter_imagegw.pulling.registry_origin import PARALLEL_DOWNLOADS
from shifter_imagegw.registry import (
    BlobCache,
    Endpoint,
    Platform,
    RegistryClient,
    RepositoryName,
    fetch_layers,
)

CHUNK = 1 << 20
GZIP = 16 + zlib.MAX_WBITS


def pipeline(address: str, image: str, directory: Path) -> None:
    """Fetch, flatten and pack, as a worker does, into a finished image."""
    with _fetched(address, image, directory) as layers:

        def write_tar(out: BinaryIO) -> None:
            flatten(layers, out)

        squashfs.make(write_tar, directory / "image.squashfs", ())


def floor(address: str, image: str, directory: Path) -> None:
    """Download, check, gunzip and merge: everything but making an image of it."""
    with _fetched(address, image, directory) as layers, open(os.devnull, "wb") as nowhere:
        flatten(layers, nowhere)


def gunzip(address: str, image: str, directory: Path) -> None:
    """Download, check and gunzip with no code of ours, a thread for each layer."""
    repository, _, tag = image.partition(":")
    url = f"http://{address}/v2/{repository}"
    answer = requests.get(f"{url}/manifests/{tag}", headers={"Accept": MANIFEST}, timeout=60)
    answer.raise_for_status()
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as threads:
        digests = [layer["digest"] for layer in answer.json()["layers"]]
        for _ in threads.map(lambda digest: _gunzip_blob(url, digest), digests):
            pass


def _gunzip_blob(url: str, digest: str) -> None:
    content = hashlib.sha256()
    unzip = isal_zlib.decompressobj(GZIP)
    with requests.get(f"{url}/blobs/{digest}", timeout=60, stream=True) as answer:
        answer.raise_for_status()
        for chunk in answer.raw.stream(CHUNK, decode_content=False):
            content.update(chunk)
            unzip.decompress(chunk)
    if content.hexdigest() != digest.removeprefix("sha256:"):
        sys.exit(f"{digest} arrived damaged")


@contextmanager
def _fetched(address: str, image: str, directory: Path) -> Iterator[list[Callable[[], Path]]]:
    """The layers on their way: each is waited for when it is called."""
    name = RepositoryName.parse(image)
    with RegistryClient(Endpoint(f"http://{address}"), None) as client:
        found = client.resolve(name, Platform.host())
        with fetch_layers(
            client,
            BlobCache(directory / "cache"),
            found.repository,
            found.layers,
            parallel=PARALLEL_DOWNLOADS,
        ) as fetches:
            yield [_waiting_for(future) for future in fetches.futures]


def _waiting_for(future: Future[Path]) -> Callable[[], Path]:
    return lambda: future.result()


PIPELINES: dict[str, Callable[[str, str, Path], None]] = {
    "pipeline": pipeline,
    "floor": floor,
    "gunzip": gunzip,
}


def main() -> None:
    name, address, image, directory = sys.argv[1:]
    PIPELINES[name](address, image, Path(directory))


if __name__ == "__main__":
    main()
