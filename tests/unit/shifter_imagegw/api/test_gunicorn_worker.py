# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import errno

import pytest

from shifter_imagegw.api.gunicorn_worker import ApiWorker, ThreadWorker, is_whole

GET = b"GET /api/list/cluster/ HTTP/1.1\r\nHost: gateway\r\n"
POST = b"POST /api/pull/cluster/docker/app:1/ HTTP/1.1\r\nHost: gateway\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        GET + b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        POST + b"Content-Length: 2\r\n\r\n{}",
        POST + b"content-length:0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_request_has_arrived_with_its_last_byte_and_not_before(request_):
    assert is_whole(request_)
    assert not is_whole(request_[:-1])


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 900000000\r\n\r\n" + bytes(64 << 10),
        GET + b"X: " + b"a" * (80 << 10),
        POST + b"Content-Length: none\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=["long body", "long header", "no length", "unknown coding", "asks first"],
)
def test_what_will_be_refused_or_waits_itself_is_not_waited_for(request_):
    assert is_whole(request_)


def test_a_client_that_takes_no_more_is_one_that_is_gone_and_no_defect(monkeypatch):
    def blocked(*_):
        raise BlockingIOError(errno.EAGAIN, "would block")

    monkeypatch.setattr(ThreadWorker, "handle_request", blocked)

    with pytest.raises(ConnectionResetError) as gone:
        ApiWorker.handle_request(ApiWorker.__new__(ApiWorker), None, None)

    assert gone.value.errno == errno.ECONNRESET  # which gunicorn does not complain of
