# SPDX-License-Identifier: BSD-3-Clause
"""Answers to what anybody may ask, made anew once a second at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

FRESH_SECONDS = 1.0  # for which an answer is given again

T = TypeVar("T")


class Recent(Generic[T]):
    """What `make` has answered a moment ago.

    One thread makes the answer, which takes seconds while a server is silent; the others are given
    the one before, so that they can answer requests.
    """

    def __init__(self, make: Callable[[], T], seconds: float = FRESH_SECONDS) -> None:
        self._make = make
        self._seconds = seconds
        self._making = threading.Lock()
        self._made: tuple[float, T] | None = None

    def __call__(self) -> T:
        before = self._made
        if not self._making.acquire(blocking=before is None):
            assert before is not None  # else this would have waited
            return before[1]
        try:
            if self._made is None or time.monotonic() - self._made[0] >= self._seconds:
                answer = self._make()
                self._made = (time.monotonic(), answer)
            return self._made[1]
        finally:
            self._making.release()
