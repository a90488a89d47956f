# SPDX-License-Identifier: BSD-3-Clause
"""Where a pull can be held: each gate is a file, and what comes to it waits while it is there."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STAGES = ("manifest", "layer", "conversion", "image", "metadata")

_CONVERTER = """#!/bin/sh
for word; do
    case "$word" in */.*.partial) id=${{word##*/.}}; id=${{id%%.*}};; esac
done
echo "$id" >> {gates}/conversions
if [ -e {gates}/convert.$id ]; then
    : > {gates}/convert.$id.reached
    while [ -e {gates}/convert.$id ]; do sleep 0.05; done
fi
exec {program} "$@"
"""


class Gates:
    """The gates of one gateway, for its processes and for the registry that they ask."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()

    def shut(self, name: str) -> None:
        (self.directory / name).touch()

    def open(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)

    def is_reached(self, name: str) -> bool:
        return (self.directory / f"{name}.reached").exists()

    def pass_through(self, name: str) -> None:
        """Wait at a gate, if it is shut."""
        if not (self.directory / name).exists():
            return
        (self.directory / f"{name}.reached").touch()
        while (self.directory / name).exists():
            time.sleep(0.02)

    def lines(self, name: str) -> list[str]:
        """What the gateway's processes noted: their `conversions`, their `renames`."""
        path = self.directory / name
        return path.read_text().split() if path.exists() else []

    def environment(self) -> dict[str, str]:
        """For processes that shall stop at the gates."""
        programs = self.directory / "bin"
        if not programs.exists():
            programs.mkdir()
            real = shutil.which("tar2sqfs")
            assert real is not None
            converter = programs / "tar2sqfs"
            converter.write_text(_CONVERTER.format(gates=self.directory, program=real))
            converter.chmod(0o755)
        return {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).with_name("faults")),
            "SHIFTER_TEST_GATES": str(self.directory),
        }


def gate_of(stage: str, repository: str, image_id: str) -> str:
    """The gate at which the pull of an image reaches a stage."""
    name = repository.replace("/", "_")
    return {
        "manifest": f"manifests.{name}",
        "layer": f"blobs.{name}",
        "conversion": f"convert.{image_id}",
        "image": f"rename.{image_id}.squashfs",
        "metadata": f"rename.{image_id}.meta",
    }[stage]


@contextmanager
def gated_registry(address: str, gates: Gates) -> Iterator[str]:
    """The URL of a registry that hands everything on to the one at `address`, through gates."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802
            parts = self.path.split("/")
            if len(parts) > 4:
                gates.pass_through(f"{parts[-2]}.{'_'.join(parts[2:-2])}")
            self._hand_on()

        do_HEAD = do_GET  # noqa: N815

        def _hand_on(self) -> None:
            with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
                connection.request(self.command, self.path, headers=dict(self.headers))
                answer = connection.getresponse()
                body = answer.read()
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("date", "server", "connection", "transfer-encoding"):
                    self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # who asked is dead
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
