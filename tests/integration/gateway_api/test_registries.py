# SPDX-License-Identifier: BSD-3-Clause
"""What users ask registries through the gateway: logins, and tags; real ones, with TLS."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.integration.conftest import SYSTEM, gateways, wait_until
from tests.integration.registry.real_registry import (
    PASSWORD,
    USER,
    Authority,
    htpasswd_auth,
    serve,
    token_auth,
    write_layout,
)

pytestmark = [pytest.mark.munge, pytest.mark.registry]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def start(registry, munged, authority, tmp_path_factory):
    """Start a gateway that knows registries: with passwords, with tokens, open to all, and gone."""
    directory = tmp_path_factory.mktemp("registries")
    with contextlib.ExitStack() as stack:
        passwords = stack.enter_context(
            serve(directory / "passwords", authority=authority, auth=htpasswd_auth(directory))
        )
        auth = stack.enter_context(token_auth(authority))
        tokens = stack.enter_context(serve(directory / "tokens", authority=authority, auth=auth))
        layout = write_layout(directory / "layout", "amd64")
        for tag in ("v1", "v2", "v3"):
            passwords.push(layout, f"secret/app:{tag}")
            tokens.push(layout, f"secret/app:{tag}")
            tokens.push(layout, f"public/app:{tag}")
        trust = {"sslcacert": str(authority.ca_file)}
        locations = {
            "default": {"url": registry.url},
            "passwords": {"url": passwords.url, "authMethod": "basic", **trust},
            "tokens": {"url": tokens.url, **trust},
            "gone": {"url": "https://127.0.0.1:1"},
        }
        make = stack.enter_context(gateways(registry, munged, tmp_path_factory))

        def start():
            gateway = make(Locations=locations, arguments=["--workers", "1"])
            gateway.token_host = tokens.host
            return gateway

        yield start


@pytest.fixture(scope="module")
def site(start):
    return start()


def payload(**logins):
    return json.dumps({"authorized_locations": logins}).encode()


def log_in(site, location, login=None):
    logins = {} if login is None else {location: login}
    return site.request(
        "POST", f"/api/login/{SYSTEM}/", json={"location": location}, payload=payload(**logins)
    )


def tags(site, repository, login=None, **query):
    logins = {} if login is None else {repository.partition("/")[0]: login}
    where = f"/api/tags/{SYSTEM}/docker/{repository}/"
    return site.request("GET", where, params=query, payload=payload(**logins))


ALICE = f"{USER}:{PASSWORD}"


@pytest.mark.parametrize("location", ["passwords", "tokens"])
def test_a_login_is_tried_and_nothing_of_it_is_kept(site, location):
    accepted = log_in(site, location, ALICE)

    url = site.config["Locations"][location]["url"]
    assert accepted.status_code == 200, accepted.text
    assert accepted.json() == {"status": True, "location": location, "url": url, "verified": True}
    by_host = log_in(site, url.removeprefix("https://"), ALICE)
    assert by_host.json()["location"] == location
    kept = b"".join(path.read_bytes() for path in site.directory.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in kept


@pytest.mark.parametrize(
    ("location", "words"),
    [("passwords", "unauthorized"), ("tokens", "incorrect username or password")],
)
def test_a_wrong_login_is_refused_with_the_registrys_reason(site, location, words):
    refused = log_in(site, location, f"{USER}:guessed-wrong")

    assert refused.status_code == 403, refused.text
    assert f"refuses user '{USER}'" in refused.json()["error"]
    assert words in refused.json()["error"].lower()
    assert "guessed-wrong" not in refused.text + site.log


@pytest.mark.parametrize(
    ("location", "login", "status", "words"),
    [
        ("nosuch", "a:b", 404, "there is no location 'nosuch'"),
        ("169.254.169.254", "a:b", 404, "there is no location"),
        ("default", "a:b", 403, "over which no password is sent"),
        ("tokens", None, 400, "carries no login"),
    ],
)
def test_a_login_that_cannot_be_tried_is_refused(site, location, login, status, words):
    refused = log_in(site, location, login)

    assert (refused.status_code, words in refused.json()["error"]) == (status, True), refused.text


def test_a_registry_that_is_away_is_said_to_be(site):
    refused = log_in(site, "gone", "a:b")

    assert refused.status_code == 502
    assert "127.0.0.1:1 cannot be reached" in refused.json()["error"]


def test_tags_are_listed_page_by_page(site):
    first = tags(site, "tokens/public/app", limit=2)
    assert first.json() == {
        "location": "tokens", "repository": "public/app", "tags": ["v1", "v2"], "next": "v2",
    }  # fmt: skip

    rest = tags(site, f"{site.token_host}/public/app", last="v2", limit=2)
    assert (rest.json()["tags"], rest.json()["next"]) == (["v3"], None)


@pytest.mark.parametrize("location", ["passwords", "tokens"])
def test_private_tags_are_listed_to_who_brings_a_login(site, location):
    assert tags(site, f"{location}/secret/app", ALICE).json()["tags"] == ["v1", "v2", "v3"]

    refused = tags(site, f"{location}/secret/app")
    assert refused.status_code == 403
    assert f"shifterimg login {location}" in refused.json()["error"]


def upstream(site, tag, login=None, image_type="docker"):
    logins = {} if login is None else {tag.partition("/")[0]: login}
    where = f"/api/upstream/{SYSTEM}/{image_type}/{tag}/"
    return site.request("GET", where, payload=payload(**logins))


def test_what_a_tag_means_now_is_what_a_pull_would_fetch(site):
    answer = upstream(site, "tokens/public/app:v1").json()
    record = site.wait("docker:tokens/public/app:v1")

    assert (answer["location"], answer["id"]) == ("tokens", record["id"])
    assert answer["digest"] == f"sha256:{record['id']}"


def test_what_a_private_tag_means_is_told_to_who_brings_a_login(site):
    assert upstream(site, "passwords/secret/app:v1", ALICE).status_code == 200
    assert upstream(site, "passwords/secret/app:v1").status_code == 403


@pytest.mark.parametrize(
    ("tag", "image_type", "status"),
    [
        ("tokens/public/app:v9", "docker", 404),
        ("gone/app:1", "docker", 502),
        ("app:1", "custom", 400),
        ("UPPER:1", "docker", 400),
    ],
)
def test_what_no_registry_has_is_refused_in_words(site, tag, image_type, status):
    refused = upstream(site, tag, image_type=image_type)

    assert refused.status_code == status, refused.text
    assert refused.json()["error"]


def test_tags_of_what_is_not_there_are_not_found(site):
    refused = tags(site, "lib/none")

    assert refused.status_code == 404, refused.text
    assert "there is no repository" in refused.json()["error"]


def test_who_has_too_many_logins_refused_has_to_wait(site):
    """The last test of this gateway: its user is the same in all of them."""
    answers = [log_in(site, "passwords", "mallory:guess") for _ in range(6)]

    refused = answers[-1]
    assert refused.status_code == 429, refused.text
    assert refused.headers["Retry-After"] == "60"
    assert log_in(site, "passwords", ALICE).status_code == 429


def pull(site, tag, login=None):
    """Ask for an image once."""
    logins = {} if login is None else {tag.partition("/")[0]: login}
    return site.request("POST", f"/api/pull/{SYSTEM}/docker/{tag}/", payload=payload(**logins))


def require_wait(refused):
    assert refused.status_code == 429, refused.text
    assert refused.headers["Retry-After"] == "60"
    assert set(refused.json()) == {"status", "error", "message"}
    assert "5 logins of yours have failed within a minute" in refused.json()["error"]


def test_nobody_guesses_passwords_by_whatever_way_a_login_goes(start):
    """Two processes answer and a third one pulls: all of them count together."""
    site = start()
    guesses = [f"{USER}:guess{number}" for number in range(4)]
    assert tags(site, "passwords/secret/app", guesses[0]).status_code == 403
    assert tags(site, "tokens/secret/app", guesses[1]).status_code == 403
    assert upstream(site, "tokens/secret/app:v1", guesses[2]).status_code == 403
    failed = site.wait("docker:passwords/secret/app:v1", payload=payload(passwords=guesses[3]))
    assert (failed["status"], "no permission" in failed["status_message"]) == ("FAILURE", True)
    # Four are refused. What needs no login, or is accepted, counts for nothing.
    assert tags(site, "tokens/public/app", guesses[0]).status_code == 200
    assert tags(site, "passwords/secret/app", ALICE).status_code == 200
    assert (
        site.wait("docker:tokens/public/app:v1", payload=payload(tokens=guesses[0]))["status"]
        == "READY"
    )
    assert log_in(site, "tokens", guesses[0]).status_code == 403

    require_wait(log_in(site, "tokens", ALICE))
    require_wait(tags(site, "passwords/secret/app", ALICE))
    require_wait(upstream(site, "passwords/secret/app:v1", ALICE))
    require_wait(pull(site, "passwords/secret/app:v2", ALICE))
    # What is everybody's is had without a login, as before.
    assert tags(site, "tokens/public/app", ALICE).status_code == 200
    assert site.wait("docker:tokens/public/app:v2")["status"] == "READY"
    for guess in guesses:
        assert guess.partition(":")[2] not in site.log


def test_pulls_that_wait_already_are_no_way_to_guess_passwords(start):
    """One worker: they were asked for before any of them was refused."""
    site = start()
    asked = [f"passwords/secret/app:guess{number}" for number in range(8)]
    for tag in asked:
        assert pull(site, tag, f"{USER}:{tag[-1]}").status_code == 200

    def reasons():
        queue = site.request("GET", f"/api/queue/{SYSTEM}/").json()["list"]
        is_over = len(queue) == len(asked) and all(job["status"] == "FAILURE" for job in queue)
        return [job["status_message"] for job in queue] if is_over else None

    said = wait_until(reasons, what="the end of all pulls")
    assert sum("no permission to read" in reason for reason in said) == 5, said
    assert sum("logins of yours have failed" in reason for reason in said) == 3, said
