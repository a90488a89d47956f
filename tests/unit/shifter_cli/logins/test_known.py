# SPDX-License-Identifier: BSD-3-Clause
"""Which login is used for which image, and what the helpers are asked."""

from __future__ import annotations

import base64
import json

import pytest

from shifter_cli.logins import helper, known


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home of the test's own, and no file elsewhere."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path


@pytest.fixture
def keep(home):
    """`keep("example.org", "bob:x", path)`: a file that knows a login."""

    def keep(key, login, path=".docker/config.json", **more):
        value = {"auth": base64.b64encode(login.encode()).decode()} if login else {}
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(json.dumps({"auths": {key: value}, **more}))

    return keep


@pytest.fixture
def make_helper(home):
    """`make_helper("pass", SHELL)`: docker-credential-pass."""

    def make(name, script):
        path = home / "bin" / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def login_for():
    """The login for an image, and all that was complained of."""

    def find(tag):
        said = []
        return known.login_for(tag, said.append), "\n".join(said)

    return find


def test_the_login_of_an_image_is_that_of_its_registry(keep, login_for):
    keep("registry.example.org", "bob:x")

    assert login_for("registry.example.org/team/tool:1") == (("registry.example.org", "bob:x"), "")


@pytest.mark.parametrize("tag", ["other.example.org/tool:1", "team/tool:1", "example.org:5000/t:1"])
def test_no_login_goes_to_another_registry(keep, login_for, tag):
    keep("registry.example.org", "bob:x")

    assert login_for(tag) == (None, "")


def test_a_login_for_docker_hub_is_for_images_without_a_host(keep, login_for):
    keep("https://index.docker.io/v1/", "bob:x")

    assert login_for("team/private:1") == (("docker.io", "bob:x"), "")


def test_docker_s_file_is_asked_before_podman_s(keep, login_for):
    keep("example.org", "docker:x")
    keep("example.org", "podman:x", ".config/containers/auth.json")

    assert login_for("example.org/tool:1")[0] == ("example.org", "docker:x")


@pytest.mark.parametrize(
    ("variable", "value", "path"),
    [
        ("DOCKER_CONFIG", "elsewhere", "elsewhere/config.json"),
        ("REGISTRY_AUTH_FILE", "auth.json", "auth.json"),
        ("XDG_RUNTIME_DIR", "run", "run/containers/auth.json"),
        ("XDG_CONFIG_HOME", "conf", "conf/containers/auth.json"),
    ],
)
def test_logins_are_found_where_docker_and_podman_are_told_to_keep_them(
    keep, login_for, monkeypatch, home, variable, value, path
):
    monkeypatch.setenv(variable, str(home / value))
    keep("example.org", "bob:x", path)

    assert login_for("example.org/tool:1")[0] == ("example.org", "bob:x")


def test_a_login_for_a_namespace_is_for_its_images_only(keep, login_for):
    keep("quay.io/team", "bob:x", ".config/containers/auth.json")

    assert login_for("quay.io/team/tool:1")[0] == ("quay.io", "bob:x")
    assert login_for("quay.io/others/tool:1")[0] is None


def test_a_helper_is_asked_for_the_name_in_the_file(keep, make_helper, login_for, home):
    keep("https://index.docker.io/v1/", "", credsStore="fake")
    make_helper(
        "fake",
        f'[ "$1" = get ] && cat >{home}/asked && printf \'{{"Username":"bob","Secret":"s:x"}}\'',
    )

    assert login_for("tool:1") == (("docker.io", "bob:s:x"), "")
    assert (home / "asked").read_text() == "https://index.docker.io/v1/"


def test_no_helper_runs_for_a_registry_that_the_file_does_not_name(
    keep, make_helper, login_for, home
):
    keep("other.org", "", credsStore="fake")
    make_helper("fake", f"touch {home}/asked")

    assert login_for("example.org/tool:1") == (None, "")
    assert not (home / "asked").exists()


def test_a_helper_without_a_login_leaves_the_one_in_the_file(keep, make_helper, login_for):
    keep("example.org", "bob:x", credsStore="fake")
    make_helper("fake", "echo credentials not found in native keychain; exit 1")

    assert login_for("example.org/tool:1") == (("example.org", "bob:x"), "")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo the keyring is locked; exit 1", "the keyring is locked"),
        ("exit 3", "it ended with status 3"),
        ("echo nonsense", "did not answer with a JSON object"),
        ('echo \'{"Username":"bob"}\'', "gave no user and secret"),
        ('echo \'{"Username":"<token>","Secret":"e"}\'', "an identity token"),
        ("yes", "says more than a login takes"),
        ("exec sleep 60", "gave no answer in"),
    ],
)
def test_a_helper_that_fails_is_told_and_the_next_file_asked(
    keep, make_helper, login_for, monkeypatch, script, words
):
    if "sleep" in script:
        monkeypatch.setattr(helper, "_PATIENCE", 0.1)
    keep("example.org", "", credsStore="fake")
    keep("example.org", "podman:x", ".config/containers/auth.json")
    make_helper("fake", script)

    login, said = login_for("example.org/tool:1")

    assert login == ("example.org", "podman:x")
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", ["none-such", "../bin/sh", "a b"])
def test_a_helper_that_is_not_there_is_named(keep, login_for, name):
    keep("example.org", "", credHelpers={"example.org": name})

    login, said = login_for("example.org/tool:1")

    assert login is None
    assert name in said


def test_a_helper_in_the_current_directory_is_none(keep, make_helper, login_for, monkeypatch, home):
    keep("example.org", "", credsStore="fake")
    make_helper("fake", f"touch {home}/asked")
    monkeypatch.chdir(home / "bin")
    monkeypatch.setenv("PATH", ":.:/usr/bin")

    assert "no docker-credential-fake in PATH" in login_for("example.org/tool:1")[1]
    assert not (home / "asked").exists()


def test_an_identity_token_is_said_to_be_no_use(keep, login_for):
    keep("example.org", "", auths={"example.org": {"identitytoken": "ey"}})

    login, said = login_for("example.org/tool:1")

    assert login is None
    assert "identity tokens are not supported; shifterimg login example.org" in said


def test_the_list_names_users_and_places_and_no_password(keep, make_helper, home):
    keep("example.org", "bob:hidden")
    keep("other.org", "", ".config/containers/auth.json", credsStore="fake")
    make_helper("fake", '[ "$1" = list ] && echo \'{"other.org":"eve"}\'')

    found = known.listing(lambda _: None)

    assert [(one.registry, one.user) for one in found] == [
        *(("example.org", "bob"), ("other.org", "eve")),
    ]
    assert found[0].source == f"{home}/.docker/config.json"
    assert found[1].source.startswith("docker-credential-fake")
    assert "hidden" not in repr(found)
