# SPDX-License-Identifier: BSD-3-Clause
"""The shifterimg program as users start it."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import json
import os
import pty
import pwd
import shlex
import socketserver
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pyte
import pytest

PROGRAM = Path(sys.executable).with_name("shifterimg")


@pytest.fixture
def write_config(tmp_path, munged):
    """`write_config(url, munge_socket)`: a udiRoot.conf; gives its path."""

    def write(url, munge_socket=munged):
        path = tmp_path / "udiRoot.conf"
        path.write_text(
            "udiMount=/var/udiMount\nloopMount=/var/udiLoopMount\nimagePath=/images\n"
            "udiRootPath=/opt/shifter\npopulateEtcDynamically=1\ndefaultImageType=docker\n"
            f"system=cluster\nimageGateway={url}\nmungeSocketPath={munge_socket}\n"
        )
        return path

    return write


@pytest.fixture
def program():
    """Run shifterimg: `program("images", config=PATH)`; `prefix` goes before its command."""

    def run(*arguments, config, prefix=(), **options):
        return subprocess.run(
            [*prefix, PROGRAM, "--config", config, *arguments],
            capture_output=True, text=True, timeout=60, check=False, **options,
        )  # fmt: skip

    run.path = PROGRAM
    return run


@pytest.fixture
def shifterimg(program, write_config, gateway):
    """Run shifterimg against the real gateway."""
    return functools.partial(program, config=write_config(gateway.url))


@dataclasses.dataclass
class Seen:
    """How a command looked on a terminal in the end, and every byte that it wrote."""

    code: int
    lines: list[str]
    written: str


@pytest.fixture
def on_terminal(program):
    """Run shifterimg in a terminal: `on_terminal("rm", NAME, config=PATH, typed="y\\n")`.

    What is `typed` is so once `after` was seen.
    """

    def run(*arguments, config, columns=80, rows=24, typed="", after=""):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process = subprocess.Popen(
            [PROGRAM, "--config", config, *arguments],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C works
            env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        os.close(slave)
        written = b""
        try:
            while True:
                if typed and after.encode() in written:
                    os.write(master, typed.encode())
                    typed = ""
                piece = os.read(master, 4096)
                if not piece:
                    break
                written += piece
        except OSError:  # how the end of a pseudo-terminal is told
            pass
        finally:
            os.close(master)
            code = process.wait(30)
        screen = pyte.Screen(columns, rows)
        pyte.Stream(screen).feed(written.decode())
        lines = [line.rstrip() for line in screen.display if line.strip()]
        return Seen(code, lines, written.decode())

    return run


@pytest.fixture
def image(push_image, make_layer, request):
    """An image in the registry, of this test only."""
    name = request.node.name.partition("[")[0].lower()
    content = make_layer(("etc", None), ("etc/name", name.encode()))
    return push_image(f"cli/{name}:1", [content])


@pytest.fixture
def listener():
    """An address where every image is in one `state`; `credentials` are those it was shown."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            while line := self.rfile.readline().strip():
                name, _, value = line.decode().partition(":")
                if name.lower() == "authentication":
                    self.server.credentials.append(value.strip())
            body = json.dumps({"id": "abc123", "status": self.server.state}).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.credentials = []
    server.state = "READY"
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def own_home(tmp_path):
    """A command prefix: the caller's home is another directory, for that command only."""
    home = tmp_path / "home"
    home.mkdir()
    # The name of the home changes, not what is there: this checkout may well lie below it.
    accounts = tmp_path / "passwd"
    caller = pwd.getpwuid(os.getuid())
    accounts.write_text(f"{caller.pw_name}:x:{caller.pw_uid}:{caller.pw_gid}::{home}:/bin/sh\n")
    script = f"mount --bind {shlex.quote(str(accounts))} /etc/passwd"
    return home, ["unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh"]
