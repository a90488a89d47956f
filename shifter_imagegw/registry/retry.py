# SPDX-License-Identifier: BSD-3-Clause
"""Trying again: how often, after how long, and at whose wish."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from shifter_imagegw.registry.errors import FetchCancelledError, RegistryError

_FIRST_DELAY = 0.5  # seconds
_LONGEST_DELAY = 30.0
_LONGEST_RETRY_AFTER = 120.0  # a registry may ask for hours; a person is waiting

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How failures that may pass are met: `attempts` tries, with exponential back-off.

    `on_retry` gets a sentence for the person who waits. `sleep` takes seconds.
    """

    attempts: int = 5
    sleep: Callable[[float], None] = time.sleep
    on_retry: Callable[[str], None] | None = None

    def start(self, stop: threading.Event | None = None) -> Attempts:
        """The tries of one operation; none begins once `stop` is set."""
        return Attempts(self, stop)


class Attempts:
    """The tries of one operation, counted from the last one that got somewhere."""

    def __init__(self, policy: RetryPolicy, stop: threading.Event | None) -> None:
        self._policy = policy
        self._stop = stop
        self._made = 0

    def run(self, action: Callable[[], T]) -> T:
        """What `action` returns, at the latest try's RegistryError."""
        while True:
            require_wanted(self._stop)
            try:
                return action()
            except RegistryError as error:
                self._made += 1
                if not error.retriable or self._made >= self._policy.attempts:
                    raise
                self._pause(error)

    def got_somewhere(self) -> None:
        """Count anew: a download that moves on may break as often as it likes."""
        self._made = 0

    def _pause(self, error: RegistryError) -> None:
        delay = _back_off(self._made)
        if error.retry_after is not None:
            delay = max(delay, min(error.retry_after, _LONGEST_RETRY_AFTER))
        if self._policy.on_retry is not None:
            self._policy.on_retry(
                f"{error}; trying again in {delay:.0f} s "
                f"(attempt {self._made + 1} of {self._policy.attempts})"
            )
        if self._stop is not None and self._policy.sleep is time.sleep:
            self._stop.wait(delay)
        else:
            self._policy.sleep(delay)


def require_wanted(stop: threading.Event | None) -> None:
    """Raise FetchCancelledError once `stop` is set."""
    if stop is not None and stop.is_set():
        raise FetchCancelledError("the download was cancelled")


def parse_retry_after(value: str | None, now: datetime.datetime) -> float | None:
    """Seconds that a Retry-After header asks for, given as such or as an HTTP date."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, (when - now).total_seconds())


def _back_off(failures: int) -> float:
    """Seconds before the next try; jitter keeps many workers from returning together."""
    longest: float = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)
