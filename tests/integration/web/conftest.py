# SPDX-License-Identifier: BSD-3-Clause
"""A real gateway with its page, and a real browser to look at it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import axe_playwright_python
import pytest
from playwright.sync_api import sync_playwright

from tests.integration.conftest import SYSTEM, gateways, layer, require_program
from tests.integration.web.held_registry import HeldRegistry

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")

# Nothing but what a test asks for goes out of the browser.
_QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture(scope="module")
def chromium():
    """One browser for the tests of a module: as long as it is there, an event loop runs here."""
    program = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=_QUIET, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def held_registry(registry) -> Iterator[HeldRegistry]:
    with HeldRegistry(registry.url).running() as held:
        yield held


@pytest.fixture(scope="module")
def site(registry, held_registry, munged, tmp_path_factory):
    """A gateway that shows public images to everybody, with images of several kinds on it."""
    with gateways(registry, munged, tmp_path_factory) as make:
        locations = {
            "default": {"remotetype": "dockerv2", "url": registry.url},
            "held": {"remotetype": "dockerv2", "url": held_registry.url},
        }
        gateway = make(start=False, AllowAnonymous=True, Metrics=True, Locations=locations)
        gateway.config["Platforms"]["other"] = gateway.config["Platforms"][SYSTEM]
        gateway.start()
        config = {
            "Env": ["PATH=/usr/bin:/bin", "MESSAGE=<script>alert(1)</script>"],
            "Entrypoint": ["/bin/tool", "--flag"],
            "Cmd": ["a b"],
            "WorkingDir": "/data",
            "Labels": {"maintainer": "x" * 300, "url": "javascript:alert(1)"},
        }
        names = [f"web/tool{number}:1" for number in range(3)]
        for name in names:
            registry.push(name, [layer(("data", os.urandom(3000)))], config)
            gateway.pull(f"docker:{name}")
        registry.push("web/secret:1", [layer(("data", os.urandom(3000)))])
        for_root = json.dumps({"allowed_uids": "0"})
        assert gateway.wait("docker:web/secret:1", data=for_root)["status"] == "READY"
        assert gateway.wait("docker:web/missing:1")["status"] == "FAILURE"
        for name in names:
            assert gateway.wait(f"docker:{name}")["status"] == "READY"
        gateway.lookup("docker:web/tool1:1")
        yield gateway


@pytest.fixture
def visitor(chromium, site):
    """Open pages as somebody with a browser of their own.

    `visitor(logged_in=False, **what the browser is like)`; what its pages complain of is in
    `complaints`, and there must be nothing in it at the end.
    """
    contexts, complaints = [], []

    def make(*, logged_in=False, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: note(message.type, message.text))
        page.on("pageerror", lambda error: note("error", str(error)))
        page.on("requestfailed", lambda request: note_failure(request))

        def look(path=""):
            page.goto(f"{site.url}/web/{SYSTEM}/{path}")
            return page

        if logged_in:
            enter(page, link_of(site))
        return SimpleNamespace(page=page, look=look, context=context, complaints=complaints)

    def note(kind, text):
        if kind in ("error", "warning"):
            complaints.append(f"{kind}: {text}")

    def note_failure(request):
        if request.failure != "net::ERR_ABORTED":  # by the browser, as it leaves the page
            complaints.append(f"not loaded: {request.url} {request.failure}")

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def enter(page, link):
    """Open a link, and press the button that it leads to."""
    page.goto(link)
    page.click("main button")
    page.wait_for_url(f"**/web/{SYSTEM}/")


def link_of(gateway):
    answer = gateway.request("POST", f"/api/web/{SYSTEM}/")
    assert answer.status_code == 200, answer.text
    return answer.json()["url"]


@pytest.fixture
def link(site, tmp_path):
    """What `shifterimg web` says."""
    config = tmp_path / "udiRoot.conf"
    config.write_text(
        "udiMount=/var/udiMount\nloopMount=/var/udiLoopMount\nimagePath=/images\n"
        f"udiRootPath=/opt/shifter\netcPath=/etc/shifter\nsystem={SYSTEM}\n"
        f"imageGateway={site.url}\nmungeSocketPath={site.munge_socket}\n"
    )
    program = Path(sys.executable).with_name("shifterimg")
    command = [program, "--config", config, "web"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
