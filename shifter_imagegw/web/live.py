# SPDX-License-Identifier: BSD-3-Clause
"""Server-sent events: a part of a page, sent again whenever it has changed.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

from flask import Response

from shifter_imagegw.api import long_answers

_LOOK_SECONDS = 1.0
_STREAM_SECONDS = 300.0  # the browser then asks again, with a session that may have ended
MOST = 32  # at a time, of each process: exports need threads of the same kind
_SILENT_SECONDS = 15.0  # proxies let go of connections on which nothing is said; times grow old

_turns = threading.BoundedSemaphore(MOST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """What is shown while it `goes_on`: `change` is another when `render` may be."""

    goes_on: Callable[[], bool]
    change: Callable[[], object]
    render: Callable[[], str]


def answer(watch: Watch) -> Response:
    """A stream, or word that there is none to be had here: the page then asks now and then."""
    if not long_answers.are_allowed() or not _turns.acquire(blocking=False):
        return Response(status=HTTPStatus.NO_CONTENT)
    events = stream(watch, time.monotonic, long_answers.pause)
    response = Response(events, content_type="text/event-stream")
    response.call_on_close(_turns.release)
    response.headers["Cache-Control"] = "no-store, no-transform"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events until it has many
    return response


def stream(
    watch: Watch, clock: Callable[[], float], pause: Callable[[float], bool]
) -> Iterator[str]:
    """Events, for as long as `pause` says so, and not for ever."""
    yield "retry: 3000\n\n"
    end = clock() + _STREAM_SECONDS
    change, text, said = None, None, clock()
    while clock() < end:
        is_silent = clock() - said >= _SILENT_SECONDS
        if watch.change() != change or is_silent:
            if not watch.goes_on():
                return  # and who asks again is told why
            change = watch.change()
            fresh = watch.render()
            if fresh != text:
                text, said = fresh, clock()
                yield _event(text)
            elif is_silent:
                said = clock()
                yield ": nothing new\n\n"
        if not pause(_LOOK_SECONDS):
            return


def _event(text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.splitlines() if line.strip())
    return f"event: rows\n{lines}\n"
