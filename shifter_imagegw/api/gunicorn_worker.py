# SPDX-License-Identifier: BSD-3-Clause
"""A process that answers HTTP, and has no thread wait for a client that dawdles.

gunicorn's threads read requests as they come: a few clients that send half a request and fall
silent would hold all of them. Here a connection waits for the end of its request in the event loop,
which holds a thousand, and not for ever. Answers that take minutes have threads of their own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import re
import selectors
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from shifter_imagegw.api import broken_request, long_answers

log = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0  # to send a request
_LEAVING_SECONDS = 1.0  # to read an answer that ends the connection
_READING_SECONDS = 30  # to take some more of an answer that is long
_REQUEST_LINE = 2048  # bytes to look at of it
_LONGEST_REQUEST = 160 << 10  # bytes to wait for: one header of 64 KiB, and a body
_LONGEST_HEAD = 80 << 10  # bytes; gunicorn refuses what comes of a longer one
_LONGEST_BODY = 64 << 10  # bytes; the application refuses longer ones unread
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_ASKS_FIRST = re.compile(rb"\r\nexpect:", re.IGNORECASE)


class ApiWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with requests that have arrived given to its threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._arriving: dict[Any, float] = {}  # connections, each with its deadline
        self._seen: dict[Any, int] = {}  # bytes that have come of the request of each of them
        self._reading: dict[Any, float] = {}  # those whose rest a thread may be reading
        self._leaving: dict[Any, float] = {}  # those that have had their last answer
        self._long: set[Any] = set()  # those whose answer takes minutes

    def get_thread_pool(self) -> ThreadPoolExecutor:
        self._patient = ThreadPoolExecutor(long_answers.THREADS, "long-answer")
        pool: ThreadPoolExecutor = super().get_thread_pool()
        return pool

    def run(self) -> None:
        try:
            super().run()
        finally:
            long_answers.end()
            self._patient.shutdown(wait=False)

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        long_answers.end()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:  # noqa: ANN401
        long_answers.end()
        super().handle_quit(sig, frame)

    def enqueue_req(self, conn: Any) -> None:  # noqa: ANN401
        """Take a connection that may bring a request; called in the event loop alone."""
        deadline = time.monotonic() + REQUEST_SECONDS
        seen = _missing_since(conn)
        if seen is None:
            self._hand_over(conn, deadline)
            return
        self._arriving[conn], self._seen[conn] = deadline, seen
        more = functools.partial(self._look_again, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, more)

    def finish_request(self, conn: Any, fs: Any) -> None:  # noqa: ANN401
        self._reading.pop(conn, None)
        self._long.discard(conn)
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
            return
        # To close at once would take the answer from a client that is still sending; gunicorn
        # waits here for it to hang up, and with it would wait everybody else.
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.sock.setblocking(False)
        self._leaving[conn] = time.monotonic() + _LEAVING_SECONDS
        self.poller.register(
            conn.sock, selectors.EVENT_READ, functools.partial(self._see_off, conn)
        )

    def handle_request(self, req: Any, conn: Any) -> Any:  # noqa: ANN401
        try:
            return super().handle_request(req, conn)
        except BlockingIOError as error:
            # The time for some more of a long answer is up. To gunicorn that would be a defect.
            log.info("answer broken off: its client takes no more of it")
            raise ConnectionResetError(errno.ECONNRESET, "its client is gone") from error

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ANN401
        """Answer what is no HTTP; gunicorn would quote it in the log, credentials included."""
        if not broken_request.is_one(exc):
            super().handle_error(req, client, addr, exc)
            return
        status, answer = broken_request.answer_to(exc)
        log.info("request not understood status=%d reason=%s", status, type(exc).__name__)
        with contextlib.suppress(OSError):
            client.sendall(answer)

    def murder_keepalived(self, force: bool = False) -> None:
        """Called by the loop every second at least."""
        super().murder_keepalived(force)
        now = time.monotonic()
        for conn in [one for one, deadline in self._arriving.items() if force or deadline <= now]:
            self._forget_arriving(conn)
            self._close(conn)
        for conn in [one for one, deadline in self._leaving.items() if force or deadline <= now]:
            self._forget_leaving(conn)
        for conn in [one for one, deadline in self._reading.items() if deadline <= now]:
            del self._reading[conn]
            # Who waits for a body finds its end; an answer that is under way is not disturbed.
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)

    def _look_again(self, conn: Any, _: object) -> None:  # noqa: ANN401
        seen = _missing_since(conn)
        if seen is None or seen == self._seen[conn]:  # all of it, or no more to come
            self._hand_over(conn, self._forget_arriving(conn))
        else:
            self._seen[conn] = seen

    def _see_off(self, conn: Any, _: object) -> None:  # noqa: ANN401
        try:
            has_hung_up = not conn.sock.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            has_hung_up = True
        if has_hung_up:
            self._forget_leaving(conn)

    def _forget_leaving(self, conn: Any) -> None:  # noqa: ANN401
        self.poller.unregister(conn.sock)
        del self._leaving[conn]
        self._close(conn)

    def _close(self, conn: Any) -> None:  # noqa: ANN401
        self.nr_conns -= 1
        conn.close()

    def _hand_over(self, conn: Any, deadline: float) -> None:  # noqa: ANN401
        self._reading[conn] = deadline
        conn.data_ready = True
        if len(self._long) < long_answers.THREADS and _asks_for_long_answer(conn):
            self._long.add(conn)
            answer = self._patient.submit(self._answer_at_length, conn)
            answer.add_done_callback(
                lambda done: self.method_queue.defer(self.finish_request, conn, done)
            )
            return
        super().enqueue_req(conn)

    def _answer_at_length(self, conn: Any) -> Any:  # noqa: ANN401
        # A client that reads nothing would hold the thread beyond the end of its answer.
        limit = struct.pack("ll", _READING_SECONDS, 0)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        with long_answers.allowed():
            return self.handle(conn)

    def _forget_arriving(self, conn: Any) -> float:  # noqa: ANN401
        self.poller.unregister(conn.sock)
        del self._seen[conn]
        return self._arriving.pop(conn)


def is_whole(seen: bytes) -> bool:
    """Whether the bytes that have come are a request, or what is not worth waiting for."""
    header, separator, body = seen.partition(b"\r\n\r\n")
    if len(seen) >= _LONGEST_REQUEST:
        return True
    if not separator:
        return len(seen) >= _LONGEST_HEAD
    header += b"\r\n"
    if _ASKS_FIRST.search(header):
        return True  # the body comes when a thread has answered
    if _CHUNKED.search(header):
        return (b"\r\n" + body).endswith(b"\r\n0\r\n\r\n")
    length = _LENGTH.search(header)
    return length is None or len(body) >= min(int(length[1]), _LONGEST_BODY)


def _asks_for_long_answer(conn: Any) -> bool:  # noqa: ANN401
    if conn.parser is not None and conn.parser.unreader.buf.getvalue():
        return False
    try:
        return long_answers.is_asked_for(conn.sock.recv(_REQUEST_LINE, socket.MSG_PEEK))
    except OSError:
        return False


def _missing_since(conn: Any) -> int | None:  # noqa: ANN401
    """How many bytes have come of a request that is not whole; None where it need not wait."""
    if conn.parser is not None and conn.parser.unreader.buf.getvalue():
        return None  # some of it was read along with the request before
    conn.sock.setblocking(False)
    try:
        seen = conn.sock.recv(_LONGEST_REQUEST, socket.MSG_PEEK)
    except BlockingIOError:
        return 0
    except OSError:
        return None  # whoever reads it meets the same
    if not seen or is_whole(seen):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return None
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LONGEST_REQUEST)
    # Else the loop would be told of the same bytes again and again.
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1)
    return len(seen)
