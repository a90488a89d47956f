# SPDX-License-Identifier: BSD-3-Clause
"""The route for the file of an image: bytes, as fast as the client takes them.

Each answer holds a thread for as long as it takes, so there are few at a time, and they come from
those for long answers where the server has such.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Response, request

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking, long_answers
from shifter_imagegw.errors import RangeError, TooManyExportsError
from shifter_imagegw.rules.exports import ExportedFile

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
    exported = asking.service().exports.open(where, reference, caller)
    try:
        return _answer(exported, caller.uid)
    except BaseException:
        exported.file.close()
        raise


def _answer(exported: ExportedFile, uid: int) -> Response:
    span = _span(exported)
    first, end = span or (0, exported.size)
    sending = _Sending(exported, uid, first, end) if request.method != "HEAD" else ()
    response = Response(
        sending,
        status=HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT,
        content_type="application/octet-stream",
        direct_passthrough=True,
    )
    if request.method == "HEAD":
        exported.file.close()
    response.headers["Content-Length"] = str(end - first)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-store, no-transform"
    response.headers["ETag"] = f'"{exported.version}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Shifter-Format"] = exported.record.format
    response.headers["X-Shifter-Id"] = exported.record.image_id or ""
    if span is not None:
        response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{exported.size}"
    return response


class _Sending(Iterator[bytes]):
    """The bytes of a file from `first` to before `end`; the server closes it if it stops before."""

    def __init__(self, exported: ExportedFile, uid: int, first: int, end: int) -> None:
        self._file = exported.file
        self._uid = uid
        self._left = end - first
        self._turns = _turns[long_answers.are_allowed()]
        with _counting:
            if _users[uid] >= _MOST_EACH or not self._turns.acquire(blocking=False):
                raise TooManyExportsError("the gateway is sending many images just now: try again")
            _users[uid] += 1
        self._is_open = True
        self._file.seek(first)

    def __next__(self) -> bytes:
        chunk = self._file.read(min(_CHUNK, self._left)) if self._left else b""
        self._left -= len(chunk)
        if not chunk:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._file.close()
            self._turns.release()
            with _counting:
                _users[self._uid] -= 1
                if not _users[self._uid]:
                    del _users[self._uid]


def _span(exported: ExportedFile) -> tuple[int, int] | None:
    """What is asked for, from a byte to before another; None for all of the file.

    Of a request for several parts, or of one for parts of another file, all is the answer.
    """
    matched = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    asked_of = request.headers.get("If-Range")
    if matched is None or (asked_of is not None and asked_of.strip('" ') != exported.version):
        return None
    first, last = matched[1], matched[2]
    if first:
        start, end = int(first), min(int(last) + 1 if last else exported.size, exported.size)
    elif last:
        start, end = max(exported.size - int(last), 0), exported.size
    else:
        return None
    if last and first and int(last) < int(first):
        return None
    if start >= end:
        raise RangeError(f"the file has {exported.size} bytes, none from {start} on", exported.size)
    return start, end
