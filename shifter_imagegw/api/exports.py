# SPDX-License-Identifier: BSD-3-Clause
"""The route for the file of an image: bytes, as fast as the client takes them.

Each answer holds a thread for as long as it takes, so there are few at a time, and they come from
those for long answers where the server has such.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Response, request

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking, long_answers
from shifter_imagegw.errors import DeliveryError, RangeError, TooManyExportsError
from shifter_imagegw.rules.exports import ExportedFile

log = logging.getLogger(__name__)

_CHUNK = 1 << 20  # bytes
_MOST_LONG, _MOST_OTHER = 16, 2  # of each process
_MOST_EACH = 4  # of them to one user, who may be reading as slowly as can be
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

_turns = {
    True: threading.BoundedSemaphore(_MOST_LONG),
    False: threading.BoundedSemaphore(_MOST_OTHER),
}
_users: Counter[int] = Counter()  # to whom files are being sent
_counting = threading.Lock()

exports = Blueprint("exports", __name__)


@exports.get("/api/export/<system>/<image_type>/<tag:tag>/")
def export(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    with contextlib.ExitStack() as held:
        # First of all: to open the file of a system that is reached by ssh takes a program.
        held.enter_context(_turn(caller.uid))
        exported = asking.service().exports.open(where, reference, caller)
        held.callback(exported.file.close)
        return _answer(exported, held)


def _answer(exported: ExportedFile, held: contextlib.ExitStack) -> Response:
    """The answer; unless it has no body, it ends what is held when it is sent."""
    span, size = _span(exported), exported.file.size
    first, end = span or (0, size)
    sending = _Sending(exported, first, end, held) if request.method != "HEAD" else ()
    response = Response(
        sending,
        status=HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT,
        content_type="application/octet-stream",
        direct_passthrough=True,
    )
    response.headers["Content-Length"] = str(end - first)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-store, no-transform"
    response.headers["ETag"] = f'"{exported.version}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Shifter-Format"] = exported.record.format
    response.headers["X-Shifter-Id"] = exported.record.image_id or ""
    if span is not None:
        response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    return response


@contextlib.contextmanager
def _turn(uid: int) -> Iterator[None]:
    """Be one of the few that a file is sent to."""
    turns = _turns[long_answers.are_allowed()]
    with _counting:
        if _users[uid] >= _MOST_EACH or not turns.acquire(blocking=False):
            raise TooManyExportsError("the gateway is sending many images just now: try again")
        _users[uid] += 1
    try:
        yield
    finally:
        turns.release()
        with _counting:
            _users[uid] -= 1
            if not _users[uid]:
                del _users[uid]


class _Sending(Iterator[bytes]):
    """The bytes of a file from `first` to before `end`; the server closes it if it stops before.

    Then, and at the end, it closes all that is held.
    """

    def __init__(
        self, exported: ExportedFile, first: int, end: int, held: contextlib.ExitStack
    ) -> None:
        self._file = exported.file
        self._left = end - first
        self._file.begin_at(first)
        self._held = held.pop_all()

    def __next__(self) -> bytes:
        if not self._left:
            self.close()
            raise StopIteration
        try:
            chunk = self._file.read(min(_CHUNK, self._left))
        except DeliveryError as error:
            log.warning("export broken off reason=%s", error)
            chunk = b""
        if not chunk:
            self.close()
            # The connection has to end, or its client would wait for the rest.
            raise ConnectionResetError(errno.ECONNRESET, "the image's file ended early")
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._held.close()


def _span(exported: ExportedFile) -> tuple[int, int] | None:
    """What is asked for, from a byte to before another; None for all of the file.

    Of a request for several parts, or of one for parts of another file, all is the answer.
    """
    matched = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    asked_of = request.headers.get("If-Range")
    if matched is None or (asked_of is not None and asked_of.strip('" ') != exported.version):
        return None
    first, last = matched[1], matched[2]
    size = exported.file.size
    if first:
        start, end = int(first), min(int(last) + 1 if last else size, size)
    elif last:
        start, end = max(size - int(last), 0), size
    else:
        return None
    if last and first and int(last) < int(first):
        return None
    if start >= end:
        raise RangeError(f"the file has {size} bytes, none from {start} on", size)
    return start, end
