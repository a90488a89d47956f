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
from shifter_imagegw.acl import Acl
from shifter_imagegw.records import PullState
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.imports import ImportSource

RECORDED = Path(__file__).parents[2] / "golden" / "http"
NAMES = sorted(path.stem for path in RECORDED.glob("*.txt"))

IDS = {"alice": "1001:1001", "bob": "1002:1002", "root": "0:0"}
ALICE = Caller(uid=1001, gid=1001, known_name="alice")
ROOT = Caller(uid=0, gid=0, known_name="root")
FILE = ImportSource(path="/home/images/app.squashfs", format="squashfs")
NO_FILE = ImportSource(path="/home/images/none.squashfs", format="squashfs")

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


def imported(gateway):
    start_import(gateway, "mine:v1", FILE)
    gateway.work(env=None, entry=None, command=None, workdir=None)


def import_failed(gateway):
    start_import(gateway, "mine:v3", NO_FILE)
    gateway.work_badly("cannot import '/home/images/none.squashfs': no such file")


def looked_up(gateway):
    ready(SLOW, TOOLS, APP)(gateway)
    for tag in (SLOW, TOOLS, SLOW, APP):
        gateway.service.lookup(gateway.system, ImageReference("docker", tag), ALICE)
        gateway.clock.advance(1)


def start_import(gateway, tag, source):
    reference = ImageReference("custom", tag)
    gateway.service.import_image(gateway.system, reference, ALICE, source, Acl())


def start(gateway, tag, caller=ALICE):
    gateway.service.pull(gateway.system, ImageReference("docker", tag), caller, Acl())


# What the gateway knew when the exchange was recorded.
STATE = {
    "autoexpire_admin": ready(APP),
    "doimport_lookup": imported,
    "doimport_no_such_file_after": import_failed,
    "metrics_admin": looked_up,
    "metrics_default_limit": looked_up,
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

# What the site had configured.
CONFIG = {"doimport": {"ImportUsers": ["alice"]}, "metrics": {"Metrics": True}}

# Where the original was wrong: the status that says what happened, the requirement that asks for
# it ((m) of the reference), and what it was.
BETTER = {
    "autoexpire_anonymous": (401, 2, "it was 404 with the text 'None'"),
    "autoexpire_user": (403, 15, "it was 200, and the client ended well"),
    "doimport_anonymous": (401, 2, "it was 500 and HTML"),
    "doimport_no_filepath": (400, 15, "it was 500 and HTML"),
    "doimport_refused": (403, 15, "it was 500 and HTML"),
    "expire_anonymous": (401, 2, "it was 404 with the text 'None'"),
    "expire_missing": (404, 15, "it was 200, and the client ended well"),
    "expire_user": (403, 15, "it was 200, and the client ended well"),
    "list_anonymous": (401, 2, "everybody could list, unless the site says AllowAnonymous"),
    "list_replayed_credential": (401, 15, "it was 404, as for an unknown system"),
    "list_unknown_system": (404, 15, "it was 500 and HTML"),
    "lookup_anonymous": (401, 2, "everybody could look up, unless the site says AllowAnonymous"),
    "lookup_bad_credential": (401, 15, "it was 500 and HTML"),
    "lookup_post": (405, 15, "it was HTML"),
    "lookup_replayed_credential": (401, 15, "it was 500 and HTML"),
    "lookup_unknown_system": (404, 15, "it was 500 and HTML"),
    "metrics_anonymous": (401, 2, "it was 500 and HTML"),
    "metrics_bad_limit": (400, 15, "it was 500 and HTML"),
    "metrics_user": (403, 15, "it was an empty list, as where nothing was looked up"),
    "pull_bad_acl": (400, 15, "it was 500 and HTML"),
    "pull_bad_json": (400, 15, "it was 500 and HTML"),
    "queue_anonymous": (401, 2, "everybody could see what others pull"),
    "queue_unknown_system": (404, 15, "it was an empty list"),
    "wrong_method": (405, 15, "it was HTML"),
}

# Where the answer has the status of the original's and says something else, by requirement: each
# has a test of its own below.
OTHERWISE = {
    "doimport_lookup": 9,  # lists are kept, so that no list is [], not null
    "pull_with_acl": 9,  # lists on a public image are kept, so that other lists start a pull
}

VARYING = {"id", "last_pull", "time", "status_message", "error", "message"}


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


def gateway_of(gateway_with, name):
    """A gateway that is as the original was when this was recorded."""
    gateway = gateway_with(**CONFIG.get(name.partition("_")[0], {}))
    STATE.get(name, nothing)(gateway)
    return gateway


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
    assert set(NAMES) >= STATE.keys() | BETTER.keys() | OTHERWISE.keys()


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in BETTER.keys() | OTHERWISE.keys()]
)
def test_the_answer_is_the_originals(gateway_with, name):
    gateway = gateway_of(gateway_with, name)
    exchange = recorded(name)

    response = ask(gateway, name)

    assert response.status_code == exchange.status
    assert_exact_headers(response, exchange.content_type)
    if exchange.content_type == "application/json":
        assert_like(response.json, json.loads(exchange.answer))
    else:
        assert response.text == exchange.answer


@pytest.mark.parametrize("name", sorted(BETTER))
def test_the_answer_is_better_than_the_originals(gateway_with, name):
    gateway = gateway_of(gateway_with, name)

    response = ask(gateway, name)

    status, _, _ = BETTER[name]
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


def test_an_import_that_nobody_restricted_has_empty_lists(gateway_with):
    gateway = gateway_of(gateway_with, "doimport_lookup")
    expected = json.loads(recorded("doimport_lookup").answer)

    answer = ask(gateway, "doimport_lookup").json

    assert (expected["userACL"], expected["groupACL"]) == (None, None)
    assert_like(answer, expected | {"userACL": [], "groupACL": []})


def test_lists_on_a_public_image_are_kept(gateway):
    STATE["pull_with_acl"](gateway)

    assert ask(gateway, "pull_with_acl").json["status"] == "INIT"
    gateway.work("0")
    answer = ask(gateway, "pull_with_acl").json

    assert (answer["status"], answer["userACL"], answer["groupACL"]) == ("READY", [5, 6, 1001], [7])


def test_a_failure_tells_its_reason(gateway):
    STATE["pull_failure"](gateway)

    assert ask(gateway, "pull_failure").json["status_message"] == "the registry has no such image"
