# SPDX-License-Identifier: BSD-3-Clause
"""login, search and web with a real registry that wants passwords, and a real gateway."""

from __future__ import annotations

import base64
import functools
import json
import re
import socket
import stat

import pytest
import requests

from tests.integration.registry.real_registry import (
    PASSWORD,
    USER,
    Authority,
    htpasswd_auth,
    serve,
    write_layout,
)
from tests.web_links import look, press

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory):
    """A registry over TLS, and in it team/tool:1 and :2."""
    directory = tmp_path_factory.mktemp("closed")
    authority = Authority.create(tmp_path_factory.mktemp("ca"))
    layout = write_layout(directory / "layout", "amd64")
    with serve(
        directory / "passwords", authority=authority, auth=htpasswd_auth(directory)
    ) as registry:
        for tag in ("1", "2"):
            registry.push(layout, f"team/tool:{tag}")
        yield registry


@pytest.fixture
def site(make_gateway, closed_registry, registry, program, write_config, own_home):
    """Run shifterimg, in a home of its own, at a site that calls the closed registry `reg`."""
    gateway = make_gateway(
        Locations={
            "default": {"remotetype": "dockerv2", "url": registry.url},
            "reg": {
                "remotetype": "dockerv2",
                "url": closed_registry.url,
                "sslcacert": str(closed_registry.ca_file),
                "authMethod": "basic",
            },
        }
    )
    home, prefix = own_home
    run = functools.partial(
        program, config=write_config(gateway.url), prefix=prefix,
        env={"PATH": f"{home}/bin:/usr/bin:/bin", "HOME": str(home)},
    )  # fmt: skip
    run.home, run.gateway = home, gateway
    return run


@pytest.fixture
def log_in(site):
    def log_in(location, password=PASSWORD):
        words = ("login", location, "--username", USER, "--password-stdin")
        return site(*words, input=f"{password}\n")

    return log_in


def test_a_wrong_password_is_refused_in_words_and_not_stored(log_in, site):
    result = log_in("reg", "wrong")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("shifterimg: cannot log in at reg: ")
    assert USER in result.stderr
    assert result.stderr.endswith("; nothing is stored\n")
    assert not (site.home / ".udiRoot/.cred").exists()


def test_a_registry_that_does_not_answer_leaves_nothing_stored(
    make_gateway, site, program, write_config
):
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        gateway = make_gateway(Locations={"default": {"remotetype": "dockerv2", "url": url}})
        words = ("login", "--username", USER, "--password-stdin")

        result = site(*words, config=write_config(gateway.url), input="x\n")

    assert result.returncode == 1
    assert "nothing is stored" in result.stderr
    assert not (site.home / ".udiRoot/.cred").exists()


def test_an_unknown_location_is_named_with_those_that_there_are(log_in, site):
    result = log_in("rag")

    assert result.returncode == 1
    assert "there is no location 'rag': the gateway knows default, reg" in result.stderr


@pytest.mark.parametrize("by_host", [False, True])
def test_a_login_that_the_registry_accepts_serves_pulls(log_in, site, closed_registry, by_host):
    location = closed_registry.host if by_host else "reg"

    stored = log_in(location)
    pulled = site("pull", f"{location}/team/tool:1")

    assert (stored.returncode, stored.stderr) == (0, "")
    cred = site.home / ".udiRoot/.cred"
    assert re.fullmatch(r"cluster:reg=MUNGE:[\w+/=]+:\n", cred.read_text())
    assert stat.S_IMODE(cred.stat().st_mode) == 0o600
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert site("logins").stdout == f"reg  {USER}  ~/.udiRoot/.cred\n"


def test_after_logout_nothing_is_left_to_pull_with(log_in, site):
    log_in("reg")

    assert site("logout", "--all").returncode == 0
    assert site("pull", "reg/team/tool:1").returncode == 1


@pytest.fixture
def docker_login(site, closed_registry):
    """alice has logged in with docker, whose helper keeps the password."""
    (site.home / ".docker").mkdir()
    (site.home / ".docker/config.json").write_text(
        json.dumps({"auths": {closed_registry.host: {}}, "credsStore": "test"})
    )
    helper = site.home / "bin/docker-credential-test"
    helper.parent.mkdir()
    answer = json.dumps({"Username": USER, "Secret": PASSWORD}, ensure_ascii=False)
    helper.write_text(f"#!/bin/sh\nread -r host\n[ \"$1\" = get ] && echo '{answer}'\n")
    helper.chmod(0o755)


def test_a_login_of_docker_s_serves_pulls_and_searches(docker_login, site, closed_registry):
    name = f"{closed_registry.host}/team/tool"

    pulled = site("pull", f"{name}:2")
    found = site("search", name)

    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert (found.returncode, found.stderr) == (0, "")
    # In the order of the registry, which this one takes from its disk.
    assert sorted(found.stdout.splitlines()) == [f"{name}:1", f"{name}:2  here"]


def test_a_login_in_podman_s_file_serves_pulls(site, closed_registry):
    directory = site.home / ".config/containers"
    directory.mkdir(parents=True)
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (directory / "auth.json").write_text(
        json.dumps({"auths": {f"{closed_registry.host}/team": {"auth": auth}}})
    )

    assert site("pull", f"{closed_registry.host}/team/tool:1").returncode == 0


def test_a_search_without_a_login_says_why_it_shows_nothing(site):
    result = site("search", "reg/team/tool")

    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot list the tags of docker:reg/team/tool" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_search_for_what_is_not_there_says_so(site):
    result = site("search", "team/none")

    assert (result.returncode, result.stdout) == (1, "")
    assert "team/none" in result.stderr


def test_the_link_to_the_web_page_works_once(site):
    result = site("web")

    assert result.returncode == 0
    assert "it works once, within" in result.stderr
    link = result.stdout.strip()
    browser, other = requests.Session(), requests.Session()
    asked, asked_too = look(browser, link), look(other, link)
    first = press(browser, link, asked)
    again = press(other, link, asked_too)
    assert (first.status_code, again.status_code) == (303, 403)
    assert "shifter_session" in browser.cookies
    assert "shifter_session" not in other.cookies
    assert look(other, link) == {}
