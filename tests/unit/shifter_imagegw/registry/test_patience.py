# SPDX-License-Identifier: BSD-3-Clause
"""Servers that dawdle, or send without end, are left in words and in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from shifter_imagegw.registry import (
    BlobCache,
    Descriptor,
    Endpoint,
    Platform,
    RegistryClient,
    RegistryError,
    RepositoryName,
)
from tests.unit.shifter_imagegw.registry.fake_registry import OCI_LAYER, OCI_MANIFEST, digest_of

APP = RepositoryName.parse("ns/app:v1")
AMD64 = Platform("linux", "amd64")
PATIENCE = 0.25  # seconds
LONG = 5.0  # seconds; what none of these may take

OK = b"HTTP/1.1 200 OK\r\nContent-Type: " + OCI_MANIFEST.encode() + b"\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class DawdlingServer:
    """Answers each connection with the pieces of `pieces`, `pause` seconds apart."""

    def __init__(self, pieces: Callable[[], Iterator[bytes]], pause: float) -> None:
        self._pieces = pieces
        self._pause = pause
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def stop(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                for piece in self._pieces():
                    if self._stop.is_set():
                        return
                    connection.sendall(piece)
                    if self._pause:
                        self._stop.wait(self._pause)
            except OSError:
                return


@pytest.fixture
def serve():
    """Start a server that dawdles; give a client that asks it once, with little patience."""
    started = []

    def start(pieces, pause=0.02, proxy_for="") -> RegistryClient:
        server = DawdlingServer(pieces, pause)
        client = RegistryClient(
            Endpoint(proxy_for or server.url),
            timeout=(PATIENCE, PATIENCE),
            attempts=1,
            sleep=lambda _: None,
        )
        started.extend([client.close, server.stop])
        client.server_url = server.url
        return client

    yield start
    for stop in started:
        stop()


def endlessly(head: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return pieces


def refused(client: RegistryClient) -> str:
    began = time.monotonic()
    with pytest.raises(RegistryError) as raised:
        client.resolve(APP, AMD64)
    assert time.monotonic() - began < LONG
    return str(raised.value)


NO_END = "it sends without coming to an end"
DAWDLES = f"{NO_END}|it sends less than 1024 bytes a second"


@pytest.mark.parametrize(
    ("head", "piece", "pause", "words"),
    [
        (b"", b"H", 0.02, "cannot be reached"),  # a status line, byte by byte
        (OK, b"X", 0.02, DAWDLES),
        (OK, b"X: y\r\n", 0.02, DAWDLES),
        (OK, b"X: y\r\n", 0, "it did not answer as a web server does"),
        (OK + b"X: ", b"y" * 4096, 0, "it did not answer as a web server does"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0, NO_END),
        (CHUNKED, b"0", 0.02, DAWDLES),
        (CHUNKED + b"0\r\n", b"X: y\r\n", 0, NO_END),
        (CHUNKED, b"1\r\nx\r\n", 0.02, "of ns/app:v1 did not come within|less than 1024 bytes"),
        (CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n", 0, "it is larger than 4 MiB"),
        (OK + b"\r\n", b"x", 0.02, "did not come within|less than 1024 bytes a second"),
        (OK + b"\r\n", b"x" * 4096, 0, "it is larger than 4 MiB"),
        (OK + b"\r\n", b"x" * 4096, 0.01, "did not come within"),
    ],
)
def test_an_answer_that_never_ends_is_left(serve, head, piece, pause, words):
    client = serve(endlessly(head, piece), pause)

    said = refused(client)

    assert any(word in said for word in words.split("|"))


def test_a_proxy_is_given_no_more_time(serve, monkeypatch):
    client = serve(endlessly(OK, b"X"), 0.02, proxy_for="http://registry.example")
    monkeypatch.setenv("http_proxy", client.server_url)

    said = refused(client)

    assert any(words in said for words in DAWDLES.split("|"))


def layer_of(data: bytes) -> Descriptor:
    return Descriptor(OCI_LAYER, digest_of(data), len(data))


def test_a_layer_that_drips_is_left_and_what_came_is_kept(serve, tmp_path):
    client = serve(endlessly(OK + b"Content-Length: 100000\r\n\r\n", b"x"))
    cache = BlobCache(tmp_path)
    began = time.monotonic()

    with pytest.raises(RegistryError, match="it sends less than 1024 bytes a second"):
        cache.fetch(client, "ns/app", layer_of(b"x" * 100_000))

    assert time.monotonic() - began < LONG
    assert cache.path(digest_of(b"x" * 100_000)).with_suffix(".partial").stat().st_size > 0


def test_a_layer_that_is_slow_but_comes_is_waited_for(serve, tmp_path):
    data = b"x" * 16_000

    def pieces() -> Iterator[bytes]:
        yield OK + b"Content-Length: 16000\r\n\r\n"
        for start in range(0, len(data), 400):
            yield data[start : start + 400]

    client = serve(pieces, PATIENCE / 20)
    began = time.monotonic()

    path = BlobCache(tmp_path).fetch(client, "ns/app", layer_of(data))

    assert path.read_bytes() == data
    assert time.monotonic() - began > 1.5 * PATIENCE


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_without_a_length_ends_where_the_connection_does(serve, tmp_path, version):
    def pieces() -> Iterator[bytes]:
        yield b"HTTP/" + version + b" 200 OK\r\nConnection: close\r\n\r\n" + b"content"

    path = BlobCache(tmp_path).fetch(serve(pieces), "ns/app", layer_of(b"content"))

    assert path.read_bytes() == b"content"


def test_a_body_without_a_length_that_is_cut_off_is_no_layer(serve, tmp_path):
    def pieces() -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\n\r\n" + b"cont"

    with pytest.raises(RegistryError, match="broke off: 4 of 7 bytes came"):
        BlobCache(tmp_path).fetch(serve(pieces), "ns/app", layer_of(b"content"))


def test_a_layer_without_a_length_or_an_end_is_cut_off(serve, tmp_path):
    client = serve(endlessly(b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 4096), 0)

    with pytest.raises(RegistryError, match="more came than the 7 bytes that its manifest says"):
        BlobCache(tmp_path).fetch(client, "ns/app", layer_of(b"content"))


@pytest.mark.parametrize("level", ["DEBUG", "WARNING"])
def test_no_library_logs_a_url(serve, caplog, level):
    """Links that registries redirect to are signed: who has one may read the blob."""
    caplog.set_level(level)

    def pieces() -> Iterator[bytes]:
        yield OK + b"broken header\r\nContent-Length: 2\r\n\r\n{}"

    client = serve(pieces)
    with client.open_blob("ns/app", "sha256:0?signature=x") as answer:
        answer.read_all(2, "blob")

    assert "signature" not in caplog.text
