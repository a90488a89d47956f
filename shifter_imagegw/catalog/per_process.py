# SPDX-License-Identifier: BSD-3-Clause
"""A catalog that each process opens for itself when it first asks it something.

Connections must not be carried over fork(), and a server that preloads the application forks after
it was made. And a process that starts while the catalog is away answers as soon as it is back.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, cast

from shifter_imagegw.catalog import Catalog


def opened_when_asked(open_catalog: Callable[[], Catalog]) -> Catalog:
    """A stand-in for what `open_catalog` gives; its methods also raise what that raises."""
    return cast("Catalog", _PerProcess(open_catalog))


class _PerProcess:
    def __init__(self, open_catalog: Callable[[], Catalog]) -> None:
        self._open = open_catalog
        self._lock = threading.Lock()
        self._catalog: Catalog | None = None
        os.register_at_fork(after_in_child=self._forget)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name not in Catalog.__dict__:
            raise AttributeError(name)
        return lambda *arguments, **options: getattr(self._opened(), name)(*arguments, **options)

    def close(self) -> None:
        with self._lock:
            if self._catalog is not None:
                self._catalog.close()

    def _opened(self) -> Catalog:
        with self._lock:
            if self._catalog is None:
                self._catalog = self._open()
            return self._catalog

    def _forget(self) -> None:
        # What came through fork() is the parent's: it is kept, for closing it would harm that.
        self._inherited = self._catalog
        self._catalog = None
        self._lock = threading.Lock()
