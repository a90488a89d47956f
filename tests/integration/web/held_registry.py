# SPDX-License-Identifier: BSD-3-Clause
"""A registry that stops in the middle of large blobs until it is told to go on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

_LARGE = 1 << 20  # bytes
_PASSED_ON = ("Content-Type", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "ETag")


class HeldRegistry:
    """In front of a real one; `go_on` is set once the rest of each blob may come."""

    def __init__(self, behind: str) -> None:
        self.go_on = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
                    registry._answer(self, behind)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[HeldRegistry]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.go_on.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, behind: str) -> None:
        headers = {
            name: handler.headers[name] for name in ("Accept", "Range") if handler.headers[name]
        }
        answer = requests.request(
            handler.command, f"{behind}{handler.path}", headers=headers, timeout=30
        )
        body = answer.content
        handler.send_response(answer.status_code)
        for name in _PASSED_ON:
            if name in answer.headers:
                handler.send_header(name, answer.headers[name])
        length = answer.headers.get("Content-Length", "0")
        handler.send_header(
            "Content-Length", length if handler.command == "HEAD" else str(len(body))
        )
        handler.end_headers()
        if len(body) > _LARGE:
            half = len(body) // 2
            handler.wfile.write(body[:half])
            handler.wfile.flush()
            self.go_on.wait(60)
            body = body[half:]
        handler.wfile.write(body)
