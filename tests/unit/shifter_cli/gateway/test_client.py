# SPDX-License-Identifier: BSD-3-Clause
"""What the client does with good, odd and missing answers."""

from __future__ import annotations

import json
import socket

import pytest

RECORD = {
    "id": "abc123",
    "status": "READY",
    "last_pull": 1600000000.5,
    "tag": ["x:1"],
    "itype": "docker",
    "system": "mycluster",
}
LINE = (
    "mycluster  docker     READY    abc123   2020-09-13T12:26:40 x:1                           \n"
)


@pytest.fixture
def closed_url():
    """An address where nothing listens: the socket is bound, so nobody else takes it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def headers_of(gateway):
    return [request.headers["authentication"] for request in gateway.requests]


def test_every_request_has_a_credential_of_its_own(gateway, run):
    gateway.answer({"status": "PULLING"}, {"status": "READY"})

    run("pull", "x:1")

    assert headers_of(gateway) == ["MUNGE:1:", "MUNGE:2:"]


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("ubuntu", "docker/ubuntu"),
        ("docker:library/ubuntu:24.04", "docker/library%2Fubuntu%3A24.04"),
        ("docker://ubuntu:1", "docker/ubuntu%3A1"),
        ("custom:app:v1", "custom/app%3Av1"),
        ("host.example:5000/lib/app:1", "docker/host.example%3A5000%2Flib%2Fapp%3A1"),
        ("up_per-Case.9:Tag_1.0-rc+1", "docker/up_per-Case.9%3ATag_1.0-rc%2B1"),
        ("app@sha256:0000", "docker/app%40sha256%3A0000"),
        ("id:0123abcd", "id/0123abcd"),
    ],
)
def test_reference_is_encoded_as_one_path_segment(typed, path, gateway, run):
    gateway.answer(RECORD)

    run("lookup", typed)

    assert gateway.requests[0].line == f"GET /api/lookup/mycluster/{path}/ HTTP/1.1"


def test_path_of_the_gateway_url_is_kept(gateway, run):
    gateway.answer(RECORD)

    run("lookup", "x:1", urls=f"{gateway.url}/shifter/")

    assert gateway.requests[0].line == "GET /shifter/api/lookup/mycluster/docker/x%3A1/ HTTP/1.1"


@pytest.mark.parametrize("typed", ["", "a b", "..", "../../etc", "日本", "quote's", "semi;colon"])
def test_what_names_no_image_is_refused_without_a_request(typed, gateway, run):
    result = run("lookup", typed)

    assert (result.code, result.stdout, gateway.requests) == (1, "", [])
    assert result.stderr.startswith("shifterimg: ")


def test_reference_without_type_is_refused_where_the_site_has_no_default(gateway, run):
    result = run("lookup", "x:1", default_type="")

    assert (result.code, gateway.requests) == (1, [])
    assert "write it as docker:x:1" in result.stderr


@pytest.mark.parametrize("content_type", ["", "Content-Type: application/json; charset=utf-8\r\n"])
def test_answer_counts_whatever_its_content_type(content_type, gateway, run):
    body = json.dumps(RECORD)
    gateway.answer_raw(f"HTTP/1.1 200 OK\r\n{content_type}\r\n{body}".encode())

    assert run("lookup", "x:1").stdout == "abc123\n"


def test_chunked_answer_is_read(gateway, run):
    body = json.dumps(RECORD)
    gateway.answer_raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()
    )

    assert run("lookup", "x:1").stdout == "abc123\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"last_pull": 1600000000},
        {"tag": "x:1"},
        {"ENV": None, "ENTRY": None, "userACL": None},
        {"STATUS": "READY", "unknown": {"a": [1]}},
    ],
)
def test_odd_fields_do_not_change_a_listing(changed, gateway, run):
    record = dict(RECORD, **changed)
    if "STATUS" in changed:
        del record["status"]
    gateway.answer({"list": [record]})

    assert run("images").stdout == LINE


@pytest.mark.parametrize("last_pull", ["MISSING", None, -1, 1e300, True, "yesterday"])
def test_unknown_time_is_shown_as_the_original_shows_it(last_pull, gateway, run):
    gateway.answer({"list": [dict(RECORD, last_pull=last_pull)]})

    assert "   1970-01-01T00:00:00 x:1 " in run("images").stdout


@pytest.mark.parametrize("body", ["not json", "<html>", "[]", "17", "", "[" * 100_000])
def test_answer_that_is_no_json_object_is_an_error(body, gateway, run):
    gateway.answer(body)

    result = run("lookup", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert "not a JSON object: does imageGateway" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_listing_without_a_list_is_an_error(gateway, run):
    gateway.answer({"status": True})

    result = run("images")

    assert result.code == 1
    assert "answered without a list" in result.stderr


def test_answer_without_an_id_is_an_error(gateway, run):
    gateway.answer({"id": "MISSING", "status": "READY"})

    result = run("lookup", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert "gave no id for docker:x:1" in result.stderr


def test_answer_that_breaks_off_is_an_error(gateway, run):
    gateway.answer_raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id":"abc"')

    result = run("lookup", "x:1")

    assert (result.code, result.stdout) == (75, "")
    assert "the answer broke off" in result.stderr


def test_answer_that_is_no_http_is_an_error(gateway, run):
    gateway.answer_raw(b"SSH-2.0-OpenSSH_9.2\r\n")

    result = run("lookup", "x:1")

    assert result.code == 75
    assert result.stderr.startswith("ERROR: failed to contact the image gateway. http://127.0.0.1")


def test_redirect_is_not_followed(gateway, second_gateway, run):
    gateway.answer_raw(
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
        + f"Location: {second_gateway.url}/\r\n\r\n".encode()
    )

    result = run("lookup", "x:1")

    assert (result.code, second_gateway.requests) == (1, [])
    assert "answered 302 Found" in result.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401 Unauthorized", "check this machine's munge key and clock"),
        ("403 Forbidden", "ask the site's support"),
        ("500 Internal Server Error", "HTTP status 500"),
    ],
)
def test_refusal_says_the_reason_of_the_gateway_and_what_to_do(status, words, gateway, run):
    gateway.answer({"status": 0, "error": "because", "message": "unused"}, status=status)

    result = run("lookup", "x:1")

    assert (result.code, result.stdout) == (75 if status.startswith("500") else 1, "")
    assert result.stderr.startswith("shifterimg: cannot find docker:x:1: because")
    assert words in result.stderr


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        ("docker:x:1", "shifterimg pull docker:x:1 fetches an image"),
        ("custom:x:1", "shifterimg import FILE x:1 makes it of a file of yours"),
    ],
)
def test_missing_image_is_told_with_the_command_that_brings_it(gateway, run, image, hint):
    gateway.answer({"status": 404, "error": "image not found"}, status="404 Not Found")

    result = run("lookup", image)

    assert result.stderr == f"shifterimg: cannot find {image}: image not found ({hint})\n"


@pytest.mark.parametrize("image", ["id:abc", "local:/images/x"])
def test_what_no_command_brings_is_told_without_one(gateway, run, image):
    gateway.answer({"status": 404, "error": "image not found"}, status="404 Not Found")

    result = run("lookup", image)

    assert result.stderr == f"shifterimg: cannot find {image}: image not found\n"


def test_other_things_not_found_get_no_wrong_advice(gateway, run):
    gateway.answer({"status": 404, "error": "no system 'x' here"}, status="404 Not Found")

    result = run("lookup", "x:1")

    assert result.stderr == "shifterimg: cannot find docker:x:1: no system 'x' here\n"


def test_advice_of_the_gateway_is_not_doubled(gateway, run):
    gateway.answer({"error": "munge refused: it has expired"}, status="401 Unauthorized")

    result = run("images")

    assert result.stderr.endswith("munge refused: it has expired\n")


def test_refusal_without_json_says_what_http_says(gateway, run):
    gateway.answer_raw(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\n<p>")

    result = run("images")

    assert result.code == 1
    assert "cannot list the images of mycluster" in result.stderr
    assert "answered 502 Bad Gateway" in result.stderr


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("502 Bad Gateway", "; if this lasts, tell the site's support"),
        ("404 Not Found", " and no more: does imageGateway in udiRoot.conf name an image gateway?"),
    ],
)
def test_page_of_a_proxy_is_told_with_what_to_do(gateway, run, status, advice):
    gateway.answer("<html>nginx</html>", status=status)

    result = run("images")

    assert result.stderr == (
        "shifterimg: cannot list the images of mycluster: "
        f"the image gateway {gateway.url} answered {status}{advice}\n"
    )


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it did not answer as a web server does"),
        (b"", "it ended the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "the answer broke off"),
    ],
)
def test_what_is_no_answer_is_told_in_words_on_one_line(gateway, run, answer, cause):
    gateway.answer_raw(answer)

    result = run("images")

    assert result.stderr == (
        f"ERROR: failed to contact the image gateway. {gateway.url}: {cause}; if this lasts, "
        "tell the site's support\n"
    )


def test_gateway_that_is_down_is_named_with_the_cause(closed_url, run):
    result = run("images", urls=closed_url)

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"ERROR: failed to contact the image gateway. {closed_url}: Connection refused"
    )


def test_gateway_that_is_down_is_told_once_for_all_images(closed_url, run):
    result = run("pull", "x:1", "y:1", urls=closed_url)

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith("ERROR: failed to contact the image gateway. ")
    assert len(result.stderr.splitlines()) == 1


def test_gateway_that_never_answers_is_given_up_after_the_timeout(run):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        result = run("images", urls=url, timeout=0.05)

    assert result.code == 1
    assert f"{url}: no answer in time" in result.stderr


def test_host_that_does_not_exist_is_named(run):
    result = run("images", urls="http://no.such.host.invalid:5000")

    assert result.code == 1
    assert "http://no.such.host.invalid:5000: " in result.stderr


@pytest.mark.parametrize(
    "url", ["localhost:5000", "ftp://x", "http://", "http://x:port/", "http://[::1"]
)
def test_url_that_is_none_is_refused_by_name(url, run):
    result = run("images", urls=url)

    assert result.code == 1
    assert f"imageGateway {url!r} in udiRoot.conf is no http" in result.stderr


def test_no_gateway_configured_is_said(run):
    result = run("images", urls="")

    assert result.code == 1
    assert "set imageGateway in udiRoot.conf" in result.stderr


@pytest.mark.parametrize("attempt", range(5))  # the order is random
def test_second_gateway_answers_where_the_first_is_down(attempt, closed_url, gateway, run):
    gateway.answer(RECORD)

    result = run("lookup", "x:1", urls=f"{closed_url} {gateway.url}")

    assert (result.code, result.stdout, result.stderr) == (0, "abc123\n", "")


@pytest.mark.parametrize("attempt", range(5))
def test_second_gateway_answers_where_the_first_is_broken(attempt, gateway, second_gateway, run):
    gateway.answer({"error": "boom"}, status="500 Internal Server Error")
    second_gateway.answer(RECORD)

    result = run("lookup", "x:1", urls=f"{gateway.url} {second_gateway.url}")

    assert (result.code, result.stdout) == (0, "abc123\n")


def test_gateways_share_the_clients(gateway, second_gateway, run):
    gateway.answer(RECORD)
    second_gateway.answer(RECORD)

    for _ in range(64):  # each is left out with a chance of 2 to the -63
        run("lookup", "x:1", urls=f"{gateway.url} {second_gateway.url}")

    assert gateway.requests
    assert second_gateway.requests


def test_missing_image_on_one_gateway_is_the_answer(gateway, second_gateway, run):
    for fake in (gateway, second_gateway):
        fake.answer({"error": "image not found"}, status="404 Not Found")

    result = run("lookup", "x:1", urls=f"{gateway.url} {second_gateway.url}")

    assert result.code == 1
    assert len(gateway.requests) + len(second_gateway.requests) == 1


@pytest.mark.parametrize(
    "words", ["Requested URL /api/nothing/mycluster/ not found", "there is no route '/api/x'"]
)
def test_gateway_without_the_route_is_said_to_be_too_old(words, gateway, run):
    gateway.answer({"status": 404, "error": words}, status="404 Not Found")

    result = run("queue")

    assert result.code == 1
    assert result.stderr == (
        f"shifterimg: cannot list the pulls of mycluster: the image gateway {gateway.url} is too "
        "old for that; ask the site's support to update it\n"
    )
