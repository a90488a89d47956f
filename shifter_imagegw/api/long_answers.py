# SPDX-License-Identifier: BSD-3-Clause
"""Answers that take minutes: given by threads of their own, for which no other request waits.

Where the server has no such threads (gunicorn with another worker than ours), there are no such
answers either.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

THREADS = 48  # of each process; whoever finds none free asks again from time to time

_FOR_ONE = re.compile(rb"GET (?:[^ ?\r\n]*/queue/events|/api/export/[^ ?\r\n]*)[ ?]")

_here = threading.local()
_leaving = threading.Event()


def is_asked_for(request: bytes) -> bool:
    """Whether a request, of which this is the beginning, is for such an answer."""
    return _FOR_ONE.match(request) is not None


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """For as long as the body runs, this thread may take its time."""
    _here.allowed = True
    try:
        yield
    finally:
        _here.allowed = False


def are_allowed() -> bool:
    return getattr(_here, "allowed", False)


def pause(seconds: float) -> bool:
    """Wait; whether to go on, as the process is not about to end."""
    return not _leaving.wait(seconds)


def end() -> None:
    """Have all of them end, as the process does."""
    _leaving.set()
