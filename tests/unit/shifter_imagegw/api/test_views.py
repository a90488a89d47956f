# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json

import pytest

from shifter_imagegw.details import LayerProgress
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import PullState
from shifter_imagegw.rules import accounts
from tests.unit.shifter_imagegw.conftest import make_image

PULL = "/api/pull/mycluster/docker/app:1/"
ROUTES = [
    ("GET", "/api/lookup/mycluster/docker/app:1/"),
    ("GET", "/api/list/mycluster/"),
    ("GET", "/api/queue/mycluster/"),
    ("POST", PULL),
    ("GET", "/api/expire/mycluster/docker/app:1/"),
    ("POST", "/api/expire/mycluster/docker/app:1/"),
    ("GET", "/api/image/mycluster/docker/app:1/"),
    ("DELETE", "/api/image/mycluster/docker/app:1/"),
    ("GET", "/api/autoexpire/mycluster/"),
    ("POST", "/api/autoexpire/mycluster/"),
    ("GET", "/api/metrics/mycluster/"),
    ("POST", "/api/web/mycluster/"),
    ("GET", "/api/stats/mycluster/"),
    ("GET", "/api/users/mycluster/"),
    ("GET", "/api/inspect/mycluster/docker/app:1/"),
    ("GET", "/api/tags/mycluster/docker/app/"),
    ("GET", "/api/upstream/mycluster/docker/app:1/"),
    ("POST", "/api/acl/mycluster/docker/app:1/"),
    ("GET", "/api/export/mycluster/docker/app:1/"),
    ("POST", "/api/cancel/mycluster/docker/app:1/"),
    ("POST", "/api/requeue/mycluster/docker/app:1/"),
    ("POST", "/api/login/mycluster/"),
    ("POST", "/api/doimport/mycluster/docker/app:1/"),
]


def assert_error(response, status, text=""):
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.json.keys() == {"status", "error", "message"}
    assert response.json["status"] == status
    assert text in response.json["error"]


def test_every_route_of_the_api_is_known_to_these_tests(gateway):
    rules = {
        rule.rule.split("/")[2]
        for rule in gateway.app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
    }

    assert rules == {path.split("/")[2] for _, path in ROUTES} | {"health"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("header", [None, "", "bad:a:b", "MUNGE:AwQ:", "\xff"])
def test_every_route_wants_a_credential(gateway, method, path, header):
    headers = {} if header is None else {"authentication": header}

    assert_error(gateway.client.open(path, method=method, headers=headers), 401)
    assert gateway.claim() is None


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_says_that_a_system_is_unknown(gateway, method, path):
    path = path.replace("mycluster", "nosuch")

    assert_error(gateway.request(method, path), 404, "does not serve a system 'nosuch'")


def test_anonymous_callers_may_only_look_where_the_site_says_so(gateway_with):
    gateway = gateway_with(AllowAnonymous=True)

    answers = {route: gateway.request(*route, by=None) for route in ROUTES}

    allowed = {route for route, answer in answers.items() if answer.status_code != 401}
    assert allowed == {
        ("GET", "/api/lookup/mycluster/docker/app:1/"),
        ("GET", "/api/image/mycluster/docker/app:1/"),
        ("GET", "/api/list/mycluster/"),
    }


def test_health_needs_no_credential(gateway):
    assert gateway.client.get("/api/health/").json == {"status": "ok"}


def test_health_says_that_the_catalog_is_gone(gateway, monkeypatch):
    def refuse():
        raise CatalogError("catalog 'x' is damaged")

    monkeypatch.setattr(gateway.catalog, "workers", refuse)

    assert_error(gateway.client.get("/api/health/"), 503, "is damaged")


@pytest.mark.parametrize(
    "tag",
    [
        "lib%2Fapp%3A1",
        "lib/app:1",
        "lib%2Fapp:1",
        "%2F%2Flib%2Fapp%3A1",  # docker://lib/app:1
        "//lib/app:1",
    ],
)
@pytest.mark.parametrize("end", ["/", ""])
def test_a_tag_may_be_written_in_many_ways(gateway, tag, end):
    answer = gateway.request("POST", f"/api/pull/mycluster/docker/{tag}{end}")

    assert answer.status_code == 200
    assert gateway.claim().record.pull_tag == "lib/app:1"


@pytest.mark.parametrize(
    "tag",
    ["..", "../../etc", "a/../b:1", "a//b", "a%20b", "a%00b", "%C3%BC", "a%0Ab", "-x", "a:", "%25"]
    + ["x" * 600],
)
@pytest.mark.parametrize("verb", ["lookup", "expire"])
def test_what_names_no_image_is_refused(gateway, verb, tag):
    assert_error(gateway.request("GET", f"/api/{verb}/mycluster/docker/{tag}/"), 400)


def test_an_unknown_type_is_refused(gateway):
    assert_error(
        gateway.request("POST", "/api/pull/mycluster/vfs/app/"), 400, "unknown image type 'vfs'"
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing/mycluster/", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/list/", 404),
        ("GET", "/api/lookup/mycluster/docker/", 404),
        ("DELETE", PULL, 405),
        ("GET", PULL, 405),
        ("POST", "/api/list/mycluster/", 405),
    ],
)
def test_unknown_routes_and_methods_are_errors_in_json(gateway, method, path, status):
    assert_error(gateway.request(method, path), status)


def test_a_wrong_method_says_which_are_right(gateway):
    assert gateway.request("GET", PULL).headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "users", "groups"),
    [
        ("", (), ()),
        ("{}", (), ()),
        ('{"allowed_uids": "", "allowed_gids": null}', (), ()),
        ('{"allowed_uids": "5,6"}', (5, 6, 1001), ()),
        ('{"allowed_uids": " 5, 6 ", "allowed_gids": "7"}', (5, 6, 1001), (7,)),
        ('{"allowed_gids": [7, 8, 7]}', (1001,), (7, 8)),
        ('{"allowed_uids": "1001,5"}', (5, 1001), ()),
        ('{"other": 1}', (), ()),
    ],
)
def test_lists_of_who_may_read_are_understood(gateway, body, users, groups):
    assert gateway.request("POST", PULL, data=body).status_code == 200

    record = gateway.claim().record
    assert (record.user_acl, record.group_acl) == (users, groups)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{allowed", "the request's body is not JSON"),
        (b"\xff\xfe", "the request's body is not JSON"),
        ("[]", "the request's body must be a JSON object"),
        ('{"allowed_uids": "five"}', "allowed_uids must be numbers with commas between them"),
        ('{"allowed_uids": "5,,6"}', "allowed_uids must be numbers"),
        ('{"allowed_gids": "-1"}', "allowed_gids must be numbers"),
        ('{"allowed_gids": "4294967295"}', "allowed_gids must be numbers"),
        ('{"allowed_gids": "٣"}', "allowed_gids must be numbers"),
        ('{"allowed_gids": [true]}', "allowed_gids must be numbers"),
        ('{"allowed_gids": 7}', "allowed_gids must be numbers"),
        (json.dumps({"allowed_uids": list(range(1001))}), "at most 1000 are allowed"),
        ('{"allowed_uids": "5", "allowed_uids": "6"}', "holds 'allowed_uids' more than once"),
        ('{"a": {"b": 1, "b": 2}}', "holds 'b' more than once"),
        ('{"allowed_gids": ' + "9" * 5000 + "}", "the request's body is not JSON"),
        (json.dumps({"allowed_users": [f"no{i}" for i in range(1001)]}), "hold 1001 users"),
        ('{"allowed_users": "root,nosuchuser"}', "the gateway knows no user 'nosuchuser'"),
        ('{"allowed_groups": ["nosuchgroup"]}', "the gateway knows no group 'nosuchgroup'"),
        ('{"allowed_users": "root,"}', "allowed_users must be names with commas between them"),
        ('{"allowed_users": [0]}', "allowed_users must be names"),
        ('{"allowed_users": {"root": 1}}', "allowed_users must be names"),
        ('{"allowed_users": "a\\u0000b"}', "knows no user 'a\\x00b'"),
        ('{"allowed_users": "\\ud800"}', "knows no user '\\ud800'"),
        ('{"allowed_users": "rооt"}', "knows no user 'rооt'"),  # Cyrillic letters
        (json.dumps({"allowed_users": "x" * 9000}), "allowed_users must be names"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_is_not_understood_is_refused_and_nothing_is_queued(gateway, body, reason):
    response = gateway.request("POST", PULL, data=body)

    assert_error(response, 400, reason)
    assert gateway.claim() is None


def test_a_body_that_is_too_long_is_refused_unread(gateway):
    assert_error(gateway.request("POST", PULL, data="[" * 100_000), 413, "body is too long")


def test_a_reason_does_not_repeat_all_that_was_sent(gateway):
    body = json.dumps({"allowed_uids": [["x" * 50_000]]})

    assert len(gateway.request("POST", PULL, data=body).json["error"]) < 200


def test_readers_may_be_named(gateway):
    body = '{"allowed_users": "root, daemon", "allowed_uids": "5", "allowed_groups": ["root"]}'

    assert gateway.request("POST", PULL, data=body).status_code == 200

    record = gateway.claim().record
    assert (record.user_acl, record.group_acl) == ((5, 0, 1, 1001), (0,))


def test_a_body_that_is_deeper_than_the_parser_is_refused(gateway):
    assert_error(gateway.request("POST", PULL, data="[" * 60_000), 400)


def test_an_expire_that_is_not_permitted_says_so(gateway):
    gateway.request("POST", PULL)
    gateway.work()

    refused = gateway.request("POST", "/api/expire/mycluster/docker/app:1/", by="bob:1002:1002")

    assert_error(refused, 403, "may be removed only by who pulled it or an administrator")


def test_the_queue_tells_who_waits_for_what_and_how_far_it_is(gateway):
    gateway.request("POST", PULL)

    (item,) = gateway.request("GET", "/api/queue/mycluster/").json["list"]

    assert item == {
        "status": "PENDING",
        "image": "app:1",
        "puller": 1001,
        "status_message": None,
        "bytes_done": None,
        "bytes_total": None,
        "itype": "docker",
        "kind": "pull",
        "since": gateway.clock.now,
        "puller_name": accounts.name_of(1001),
        "attempts": 0,
        "layers_progress": None,
        "is_mine": True,
    }


def test_each_layer_is_told_of_while_a_pull_fetches_it_and_not_later(gateway):
    gateway.request("POST", PULL)
    claim = gateway.claim()
    layers = [LayerProgress("sha256:a", 10, 4)]
    gateway.catalog.report(claim, PullState.PULLING, "Pulling layers", layers=layers)
    shown = [{"digest": "sha256:a", "size": 10, "done": 4}]

    assert gateway.request("POST", PULL).json["layers_progress"] == shown
    (row,) = gateway.request("GET", "/api/queue/mycluster/").json["list"]
    assert row["layers_progress"] == shown

    gateway.catalog.publish(claim, make_image(), gateway.clock.now)
    assert gateway.request("POST", PULL).json["layers_progress"] is None
    (image,) = gateway.request("GET", "/api/list/mycluster/").json["list"]
    assert "layers_progress" not in image


@pytest.mark.parametrize("state", [PullState.HASHING, PullState.EXPIRING, PullState.TRANSFER])
def test_a_poll_is_told_only_states_that_old_clients_wait_through(gateway, state):
    gateway.request("POST", PULL)
    gateway.catalog.report(gateway.claim(), state, "working")

    assert gateway.request("POST", PULL).json["status"] in (
        "MISSING", "INIT", "PENDING", "PULLING", "EXAMINATION", "CONVERSION", "TRANSFER",
    )  # fmt: skip


def test_head_changes_nothing(gateway):
    gateway.request("POST", PULL)
    gateway.work()

    answers = [
        gateway.request("HEAD", path, by="root:0:0")
        for path in ("/api/expire/mycluster/docker/app:1/", "/api/autoexpire/mycluster/")
    ]

    assert [answer.status_code for answer in answers] == [405, 405]
    assert answers[0].headers["Allow"] == "GET, POST"
    assert gateway.claim() is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/expire/mycluster/docker/app:1/"),
        ("POST", "/api/expire/mycluster/docker/app:1/"),
        ("DELETE", "/api/image/mycluster/docker/app:1/"),
    ],
)
def test_an_image_is_expired_by_each_form_of_the_request(gateway, method, path):
    gateway.request("POST", PULL)
    gateway.work()

    assert gateway.request(method, path).json == {"status": True}
    assert gateway.claim().record.state is PullState.EXPIRING


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unused_images_are_expired_by_each_form_of_the_request(gateway, method):
    gateway.request("POST", PULL)
    image = gateway.work(expiration=gateway.clock.now - 1)

    answer = gateway.request(method, "/api/autoexpire/mycluster/", by="root:0:0")

    assert answer.json == {"status": [image.image_id]}


@pytest.mark.parametrize(
    "limit", ["ten", "-1", "", "1e3", "10001", "9" * 4000, "\u0663", "1\0", "0x10", "1 "]
)
def test_a_limit_that_is_no_number_is_refused(gateway_with, limit):
    gateway = gateway_with(Metrics=True)
    path = "/api/metrics/mycluster/"

    answer = gateway.request("GET", path, by="root:0:0", query_string={"limit": limit})

    assert_error(answer, 400, "limit must be a number up to 10000")


def test_times_are_json_doubles(gateway):
    gateway.request("POST", PULL)
    gateway.clock.now = float(int(gateway.clock.now))
    gateway.work()

    text = gateway.request("GET", "/api/lookup/mycluster/docker/app:1/").text

    assert f'"last_pull":{gateway.clock.now:.1f}' in text


def test_a_catalog_that_fails_is_a_503_with_its_reason(gateway, monkeypatch):
    def refuse(*_):
        raise CatalogError("cannot write catalog 'x': its filesystem is full, free some space")

    monkeypatch.setattr(gateway.catalog, "add_pull", refuse)

    assert_error(gateway.request("POST", PULL), 503, "its filesystem is full")


def test_a_defect_is_confessed_in_json_and_logged_without_credentials(gateway, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(gateway.catalog, "find_ready", fail)

    response = gateway.request("POST", PULL)

    assert_error(response, 500, "did not expect; its log has the details")
    assert "secret detail" not in response.text
    assert "ZeroDivisionError" in caplog.text
    assert "good:alice" not in caplog.text


def test_a_path_cannot_write_lines_into_the_log(gateway, monkeypatch, caplog):
    monkeypatch.setattr("shifter_common.reference.ImageReference.checked", lambda *_: 1 / 0)

    gateway.request("GET", "/api/lookup/mycluster/docker/a%0AERROR%20forged/")

    assert "met a defect" in caplog.text
    assert "\nERROR forged" not in caplog.text
