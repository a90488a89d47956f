# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os

import pytest

from shifter_imagegw.api import long_answers

CONTENT = os.urandom(3 << 20)
EXPORT = "/api/export/mycluster/docker/app:1/"


@pytest.fixture
def image(gateway):
    return delivered(gateway)


def delivered(gateway, **body):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/", json=body)
    record = gateway.work()
    gateway.system.image_dir.mkdir(exist_ok=True)
    (gateway.system.image_dir / f"{record.image_id}.squashfs").write_bytes(CONTENT)
    return record


def export(gateway, **more):
    return gateway.request("GET", EXPORT, **more)


@pytest.fixture
def gateway_asked(gateway):
    """Ask for a part: `(status, body, Content-Range)`."""

    def ask(header, **headers):
        _, uid, gid = ["alice", "1001", "1001"]
        answer = gateway.client.get(
            EXPORT,
            headers={"authentication": f"good:alice:1001::{uid}:{gid}", "Range": header, **headers},
        )
        return answer.status_code, answer.data, answer.headers.get("Content-Range")

    return ask


def test_the_file_is_sent_as_it_is(gateway, image):
    answer = export(gateway)

    assert (answer.status_code, answer.data == CONTENT) == (200, True)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["X-Shifter-Format"] == "squashfs"
    assert answer.headers["X-Shifter-Id"] == image.image_id


@pytest.mark.parametrize(
    ("header", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=1048570-", 1048570, len(CONTENT)),
        (f"bytes=10-{len(CONTENT) + 5}", 10, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes=-{len(CONTENT) + 5}", 0, len(CONTENT)),
    ],
)
def test_a_part_of_it_is_sent_where_a_part_is_asked_for(image, gateway_asked, header, first, end):
    status, body, content_range = gateway_asked(header)

    assert (status, body == CONTENT[first:end]) == (206, True)
    assert content_range == f"bytes {first}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize(
    "header",
    ["bytes=9-5", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=" + "9" * 50],
)
def test_what_names_no_part_is_answered_with_all(image, gateway_asked, header):
    status, body, content_range = gateway_asked(header)

    assert (status, body == CONTENT, content_range) == (200, True, None)


@pytest.mark.parametrize("header", [f"bytes={len(CONTENT)}-", "bytes=99999999999-", "bytes=-0"])
def test_a_part_that_is_not_there_is_refused(image, gateway_asked, header):
    status, _, content_range = gateway_asked(header)

    assert (status, content_range) == (416, f"bytes */{len(CONTENT)}")


def test_to_go_on_needs_the_same_file(gateway, image, gateway_asked):
    tag = gateway.request("HEAD", EXPORT).headers["ETag"]
    assert gateway_asked("bytes=5-", **{"If-Range": tag})[0] == 206

    path = gateway.system.image_dir / f"{image.image_id}.squashfs"
    path.rename(path.with_suffix(".old"))
    path.write_bytes(CONTENT[::-1])

    status, body, _ = gateway_asked("bytes=5-", **{"If-Range": tag})
    assert (status, body == CONTENT[::-1]) == (200, True)


def test_an_image_for_others_does_not_exist(gateway):
    delivered(gateway, allowed_uids="7")

    refused = export(gateway, by="bob:1002:1002")
    missing = gateway.request("GET", EXPORT.replace("app", "none"), by="bob:1002:1002")

    assert (refused.status_code, missing.status_code) == (404, 404)
    assert refused.json["error"] == missing.json["error"].replace("none", "app")


def test_a_directory_is_no_file(gateway):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")
    gateway.work(format="VFS")

    refused = export(gateway)

    assert refused.status_code == 400
    assert "docker:app:1 is a directory on mycluster (format VFS)" in refused.json["error"]
    assert 'save it with "shifter --image=docker:app:1 tar -c ' in refused.json["error"]


@pytest.mark.parametrize("instead", ["nothing", "link", "pipe", "directory"])
def test_what_is_no_image_file_is_not_sent(gateway, image, instead):
    path = gateway.system.image_dir / f"{image.image_id}.squashfs"
    path.unlink()
    if instead == "link":
        path.symlink_to("/etc/passwd")
    elif instead == "pipe":
        os.mkfifo(path)
    elif instead == "directory":
        path.mkdir()

    refused = export(gateway)

    assert refused.status_code == 503
    assert "cannot export docker:app:1" in refused.json["error"]


def test_an_image_on_other_hosts_is_asked_for_by_ssh(gateway_with, tmp_path, monkeypatch):
    gateway = gateway_with(
        Platforms={
            "mycluster": {
                "accesstype": "remote", "host": ["h"], "ssh": {"imageDir": "/images"},
            }
        }
    )  # fmt: skip
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")
    gateway.work()
    monkeypatch.setenv("PATH", str(tmp_path))

    refused = export(gateway)

    assert refused.status_code == 503
    assert "cannot find the program 'ssh'" in refused.json["error"]


def test_head_tells_the_size_and_sends_nothing(gateway, image):
    answer = gateway.request("HEAD", EXPORT)

    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))


@pytest.mark.parametrize(("is_long", "most"), [(True, 16), (False, 2)])
def test_few_are_sent_at_a_time_and_each_that_ends_makes_room(gateway, image, is_long, most):
    def begin(uid=1000):
        by = f"user{uid}:{uid}:{uid}"
        if not is_long:
            return export(gateway, buffered=False, by=by)
        with long_answers.allowed():
            return export(gateway, buffered=False, by=by)

    under_way = [begin(2000 + number // 4) for number in range(most)]
    refused = begin()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    for answer in under_way:
        answer.close()

    assert begin().data == CONTENT


def test_nobody_who_reads_slowly_keeps_all_others_waiting(gateway, image):
    def begin(by):
        with long_answers.allowed():
            return export(gateway, buffered=False, by=by)

    under_way = [begin("slow:2000:2000") for _ in range(4)]

    assert begin("slow:2000:2000").status_code == 429
    assert begin("alice:1001:1001").data == CONTENT
    for answer in under_way:
        answer.close()
    assert begin("slow:2000:2000").data == CONTENT


@pytest.mark.parametrize(
    ("line", "is_long"),
    [
        (b"GET /api/export/s/docker/a:1/ HTTP/1.1", True),
        (b"GET /api/list/s/ HTTP/1.1", False),
        (b"POST /api/export/s/docker/a:1/ HTTP/1.1", False),
        (b"GET /api/list/api/export/ HTTP/1.1", False),
    ],
)
def test_who_waits_for_a_file_takes_no_thread_from_others(line, is_long):
    assert long_answers.is_asked_for(line) is is_long


def test_a_descriptor_is_not_left_open(gateway, image):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert export(gateway).data == CONTENT
        gateway.request("HEAD", EXPORT)
        gateway.request("GET", EXPORT, by="alice:1001:1001", buffered=False).close()

    assert len(os.listdir("/proc/self/fd")) <= before
