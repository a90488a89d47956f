# SPDX-License-Identifier: BSD-3-Clause
"""Every recorded exchange with the original gateway, asked again of ours.

Ours answers the same, or better, as the tables say. What may differ anyway: ids, times, texts for
people, and keys that only our own client reads.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.auth import Caller
from shifter_imagegw.records import Acl, PullState

RECORDED = Path(__file__).parents[2] / "golden" / "http"
NAMES = sorted(path.stem for path in RECORDED.glob("*.txt"))

IDS = {"alice": "1001:1001", "bob": "1002:1002", "root": "0:0"}
ALICE = Caller(uid=1001, gid=1001, known_name="alice")
ROOT = Caller(uid=0, gid=0, known_name="root")

SLOW, APP, TOOLS, OTHER, MISSING = (
    "lib/slow:1", "app:1.0", "tools:latest", "otherreg/lib/x:2", "lib/missing:1",
)  # fmt: skip
DIGEST = "app@sha256:" + "a" * 64


def nothing(gateway):
    pass


def ready(*tags):
    def prepare(gateway):
        for number, tag in enumerate(tags):
            start(gateway, tag)
            gateway.work("0123456789abcdef"[number])

    return prepare


def running(gateway):
    start(gateway, SLOW)
    gateway.catalog.report(gateway.claim(), PullState.PULLING, "Constructing manifest")


def failed(*tags):
    def prepare(gateway):
        for tag in tags:
            start(gateway, tag)
            gateway.work_badly("the registry has no such image")

    return prepare


def expired(gateway):
    ready(APP)(gateway)
    gateway.service.expire(gateway.system, ImageReference("docker", APP), ROOT)
    gateway.catalog.finish_expire(gateway.claim())


def of_somebody_else(gateway):
    start(gateway, APP, ROOT)
    gateway.work()


def start(gateway, tag, caller=ALICE):
    gateway.service.pull(gateway.system, ImageReference("docker", tag), caller, Acl())


# What the gateway knew when the exchange was recorded.
STATE = {
    "expire_admin": ready(APP),
    "expire_anonymous": ready(APP),
    "expire_user": of_somebody_else,
    "list_anonymous": ready(SLOW, APP, TOOLS, OTHER, DIGEST),
    "list_images": ready(SLOW, APP, TOOLS, OTHER, DIGEST),
    "lookup_after_expire": expired,
    "lookup_anonymous": ready(SLOW),
    "lookup_bad_credential": ready(APP),
    "lookup_default_tag": ready(TOOLS),
    "lookup_failed_pull": failed(MISSING),
    "lookup_found": ready(SLOW),
    "lookup_no_trailing_slash": ready(SLOW),
    "lookup_other_type": ready(APP),
    "lookup_post": ready(APP),
    "lookup_replayed_credential": ready(APP),
    "lookup_while_running": running,
    "pull_after_expire": expired,
    "pull_decoded_slash": ready(SLOW),
    "pull_digest_after": ready(DIGEST),
    "pull_failure": failed(MISSING),
    "pull_location_prefix_ready": ready(OTHER),
    "pull_when_ready": ready(SLOW),
    "pull_while_running": running,
    "pull_with_acl": ready(APP),
    "queue_after_expire": failed(MISSING, "mine:v3"),
    "queue_anonymous": failed(MISSING),
    "queue_one_running": running,
    "queue_with_failure": failed(MISSING),
}

# Where the original was wrong: the status that says what happened, and why it is better.
BETTER = {
    "expire_anonymous": (401, "it was 404 with the text 'None'"),
    "expire_missing": (404, "it was 200, and the client ended well"),
    "expire_user": (403, "it was 200, and the client ended well"),
    "list_anonymous": (401, "everybody could list, unless the site says AllowAnonymous"),
    "list_replayed_credential": (401, "it was 404, as for an unknown system"),
    "list_unknown_system": (404, "it was 500 and HTML"),
    "lookup_anonymous": (401, "everybody could look up, unless the site says AllowAnonymous"),
    "lookup_bad_credential": (401, "it was 500 and HTML"),
    "lookup_post": (405, "it was HTML"),
    "lookup_replayed_credential": (401, "it was 500 and HTML"),
    "lookup_unknown_system": (404, "it was 500 and HTML"),
    "pull_bad_acl": (400, "it was 500 and HTML"),
    "pull_bad_json": (400, "it was 500 and HTML"),
    "queue_anonymous": (401, "everybody could see what others pull"),
    "queue_unknown_system": (404, "it was an empty list"),
    "wrong_method": (405, "it was HTML"),
    # Not in this release.
    "autoexpire_admin": (501, ""),
    "autoexpire_anonymous": (401, ""),
    "autoexpire_user": (501, ""),
    "doimport_accepted": (501, ""),
    "doimport_anonymous": (401, ""),
    "doimport_no_filepath": (501, ""),
    "doimport_no_such_file": (501, ""),
    "doimport_no_such_file_after": (501, ""),
    "doimport_refused": (501, ""),
    "metrics_admin": (501, ""),
    "metrics_anonymous": (401, ""),
    "metrics_bad_limit": (501, ""),
    "metrics_default_limit": (501, ""),
    "metrics_user": (501, ""),
}

# An image that an import has made cannot be here yet; lists on public images are kept, so that
# asking for other lists starts a pull where the original ignored them.
OTHERWISE = {"doimport_lookup", "pull_with_acl"}

VARYING = {"id", "last_pull", "status_message", "error", "message"}


@dataclasses.dataclass
class Exchange:
    """One recorded request and its answer."""

    caller: str | None
    method: str
    target: str
    body: str
    status: int
    content_type: str
    answer: str


def recorded(name):
    text = (RECORDED / f"{name}.txt").read_text()
    head, _, rest = text.partition("== request ==\n")
    request, _, response = rest.partition("\n== response ==\n")
    request_head, _, body = request.partition("\n\n")
    method, target, _ = request_head.splitlines()[0].split()
    response_head, _, answer = response.partition("\n\n== response body (")
    (caller,) = [line[10:] for line in head.splitlines() if line.startswith("# caller: ")]
    (content_type,) = [
        line[14:] for line in response_head.splitlines() if line.startswith("Content-Type: ")
    ]
    return Exchange(
        caller=None if caller.startswith("nobody") else caller,
        method=method,
        target=target,
        body="" if body.strip() == "<empty body>" else body,
        status=int(response_head.split()[1]),
        content_type=content_type,
        answer=answer.partition("\n")[2].rpartition("\n== end ==")[0],
    )


def ask(gateway, name):
    """Send the recorded request again; its credential is as bad as it was then."""
    exchange = recorded(name)
    headers = {}
    if exchange.caller:
        word = "bad" if "bad_cred" in name or "replayed" in name else "good"
        ids = IDS[exchange.caller]
        headers["authentication"] = f"{word}:{exchange.caller}:{exchange.caller}::{ids}"
    if exchange.method == "POST":
        headers["Content-type"] = "application/json"
    return gateway.client.open(
        exchange.target, method=exchange.method, headers=headers, data=exchange.body
    )


def assert_like(answer, expected):
    """`answer` has all that `expected` has, in the same types, and the values that do not vary."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key in VARYING:
                assert type(answer[key]) is type(value), key
            else:
                assert_like(answer[key], value)
    elif isinstance(expected, list):
        assert len(answer) == len(expected)
        for one, other in zip(answer, expected, strict=True):
            assert_like(one, other)
    else:
        assert (answer, type(answer)) == (expected, type(expected))


def assert_exact_headers(response, content_type):
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Length"] == str(len(response.data))


def test_the_recordings_are_here():
    assert len(NAMES) == 61
    assert set(NAMES) >= STATE.keys() | BETTER.keys() | OTHERWISE


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BETTER.keys() | OTHERWISE])
def test_the_answer_is_the_originals(gateway, name):
    STATE.get(name, nothing)(gateway)
    exchange = recorded(name)

    response = ask(gateway, name)

    assert response.status_code == exchange.status
    assert_exact_headers(response, exchange.content_type)
    if exchange.content_type == "application/json":
        assert_like(response.json, json.loads(exchange.answer))
    else:
        assert response.text == exchange.answer


@pytest.mark.parametrize("name", sorted(BETTER))
def test_the_answer_is_better_than_the_originals(gateway, name):
    STATE.get(name, nothing)(gateway)

    response = ask(gateway, name)

    status, _ = BETTER[name]
    assert response.status_code == status
    assert_exact_headers(response, "application/json")
    assert response.json["status"] == status
    assert response.json.keys() == {"status", "error", "message"}
    assert recorded(name).target in response.json["message"]
    assert len(response.json["error"]) > 10


@pytest.mark.parametrize("name", ["list_anonymous", "lookup_anonymous"])
def test_anonymous_callers_are_answered_as_before_where_the_site_says_so(gateway_with, name):
    gateway = gateway_with(AllowAnonymous=True)
    STATE[name](gateway)

    response = ask(gateway, name)

    assert response.status_code == 200
    assert_like(response.json, json.loads(recorded(name).answer))


def test_lists_on_a_public_image_are_kept(gateway):
    STATE["pull_with_acl"](gateway)

    assert ask(gateway, "pull_with_acl").json["status"] == "INIT"
    gateway.work("0")
    answer = ask(gateway, "pull_with_acl").json

    assert (answer["status"], answer["userACL"], answer["groupACL"]) == ("READY", [5, 6, 1001], [7])


def test_a_failure_tells_its_reason(gateway):
    STATE["pull_failure"](gateway)

    assert ask(gateway, "pull_failure").json["status_message"] == "the registry has no such image"
