# SPDX-License-Identifier: BSD-3-Clause
"""A gateway made of prepared answers, and shifterimg run against it."""

from __future__ import annotations

import dataclasses
import json
import socketserver
import threading
import time
from pathlib import Path

import pytest

from shifter_cli import shifterimg
from shifter_common import munge

CONFIG = """\
udiMount=/var/udiMount
loopMount=/var/udiLoopMount
imagePath=/images
udiRootPath=/opt/shifter
populateEtcDynamically=1
system=mycluster
defaultImageType={default_type}
gatewayTimeout={timeout}
imageGateway={urls}
"""


@dataclasses.dataclass
class Request:
    """One request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def read_from(cls, stream):
        line = stream.readline().decode().rstrip("\r\n")
        headers = {}
        while text := stream.readline().decode().rstrip("\r\n"):
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        return cls(line, headers, stream.read(int(headers.get("content-length", 0))))


class FakeGateway:
    """Answers each request with the next prepared bytes, the last ones again and again."""

    def __init__(self):
        self.requests = []
        self.answers = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(handler):  # noqa: N805
                self.requests.append(Request.read_from(handler.rfile))
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                handler.wfile.write(answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, *records, status="200 OK"):
        """Prepare one JSON answer for each record."""
        for record in records:
            body = record if isinstance(record, str) else json.dumps(record)
            self.answer_raw(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
            )

    def answer_raw(self, data):
        self.answers.append(data)


@dataclasses.dataclass
class Result:
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def gateway():
    fake = FakeGateway()
    yield fake
    fake.close()


@pytest.fixture
def second_gateway():
    fake = FakeGateway()
    yield fake
    fake.close()


@pytest.fixture
def config_path(tmp_path):
    return tmp_path / "udiRoot.conf"


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def payloads(monkeypatch):
    """What was put into credentials, one item for each; munge itself is left out."""
    made = []

    def encode(payload=b"", *, socket=None):
        made.append(payload)
        return f"MUNGE:{len(made)}:"

    monkeypatch.setattr(munge, "encode", encode)
    return made


@pytest.fixture
def run(gateway, config_path, payloads, monkeypatch, capsys, tmp_path):
    """Run shifterimg as the installed program does, against the fake gateway."""
    monkeypatch.setattr("pwd.getpwuid", lambda uid: FakeAccount(str(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path))  # where docker keeps logins
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "shifter_cli.progress.pulls._FIRST_PAUSE", 0.0
    )  # so that all later ones are, too

    def run(*arguments, urls=None, default_type="docker", timeout=10, more=""):
        text = CONFIG.format(
            urls=gateway.url if urls is None else urls, default_type=default_type, timeout=timeout
        )
        config_path.write_text(text + more)
        with pytest.raises(SystemExit) as end:
            shifterimg.main(str(config_path), list(arguments))
        output = capsys.readouterr()
        return Result(end.value.code, output.out, output.err)

    return run


@dataclasses.dataclass
class FakeAccount:
    pw_dir: str
    pw_name: str = "alice"


@pytest.fixture
def golden():
    """The text of a recorded exchange of the original."""
    folder = Path(__file__).parents[2] / "golden" / "cli"
    return lambda name: (folder / f"{name}.txt").read_text()
