# SPDX-License-Identifier: BSD-3-Clause
"""All layers of an image at once, the topmost first: that is the order in which they are read."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from shifter_imagegw.registry.blobs import BlobCache, Holds
from shifter_imagegw.registry.client import RegistryClient
from shifter_imagegw.registry.errors import FetchCancelledError, RegistryError
from shifter_imagegw.registry.manifest import Descriptor


class LayerFetches:
    """Downloads under way: `futures[n]` gives the file of layer `n`, the lowest layer being 0.

    When one layer fails, the others stop and fail with the same error, so that whichever is
    waited for says why. Leaving the context stops whatever is still under way and waits for it,
    and ends `holds`: until then no file that was given can be trimmed away.
    """

    def __init__(
        self,
        fetch: Callable[[Descriptor, threading.Event], Path],
        layers: Sequence[Descriptor],
        parallel: int,
        holds: Holds | None = None,
    ) -> None:
        self._fetch = fetch
        self._holds = holds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._executor = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="layer")
        started: dict[str, Future[Path]] = {}
        for layer in reversed(layers):
            if layer.digest not in started:
                started[layer.digest] = self._executor.submit(self._fetch_or_fail, layer)
        self.futures = tuple(started[layer.digest] for layer in layers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
        if self._holds is not None:
            self._holds.close()

    def cancel(self) -> None:
        """Stop what is under way; what came so far is kept in the cache.

        Returns when nothing writes there any more: at once, or where a server has fallen silent
        after the client's time limit between two packets.
        """
        self._stop.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _fetch_or_fail(self, layer: Descriptor) -> Path:
        try:
            return self._fetch(layer, self._stop)
        except FetchCancelledError:
            with self._lock:
                if self._failure is not None:
                    raise self._failure from None
            raise
        except BaseException as error:
            with self._lock:
                if self._failure is None:
                    self._failure = error
            self._stop.set()
            raise


def fetch_layers(
    client: RegistryClient,
    cache: BlobCache,
    repository: str,
    layers: Sequence[Descriptor],
    *,
    parallel: int = 4,
    progress: Callable[[str, int], None] | None = None,
) -> LayerFetches:
    """Begin to download `layers`, at most `parallel` at a time, each digest once.

    `progress` is called from several threads with a layer's digest, and bytes as
    `BlobCache.fetch` gives them. Raises
    RegistryError at once where the cache's filesystem cannot hold them all.
    """
    _require_room(cache, layers)
    holds = Holds()

    def fetch(layer: Descriptor, stop: threading.Event) -> Path:
        report = None if progress is None else functools.partial(progress, layer.digest)
        return cache.fetch(client, repository, layer, report, stop=stop, holds=holds)

    return LayerFetches(fetch, layers, parallel, holds)


def _require_room(cache: BlobCache, layers: Sequence[Descriptor]) -> None:
    """Refuse what would not fit though everything else in the cache were removed."""
    needed = sum({layer.digest: layer.size for layer in layers}.values())
    directory = cache.directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
        if needed <= free:
            return
        possible = free + cache.size().bytes
    except OSError:
        return  # the first download says why
    if needed > possible:
        raise RegistryError(
            f"the layers of this image are {needed} bytes, more than the {possible} that the blob "
            f"cache {directory} can have at most: free space on its filesystem"
        )
