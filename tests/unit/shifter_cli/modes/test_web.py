# SPDX-License-Identifier: BSD-3-Clause
"""`shifterimg web`: a link for the user's browser."""

from __future__ import annotations

import time

import pytest

LINK = "http://gateway/web/enter?ticket=abc"


def test_a_link_is_printed_with_how_long_it_works(run, gateway):
    gateway.answer({"url": LINK, "expires": time.time() + 300})

    result = run("web")

    assert result.stdout == f"{LINK}\n"
    assert result.stderr == "shifterimg: it works once, within 5 minutes\n"
    assert gateway.requests[0].line == "POST /api/web/mycluster/ HTTP/1.1"


def test_a_browser_is_opened_only_on_request(run, gateway, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    gateway.answer({"url": LINK, "expires": None})

    run("web")
    run("web", "--open")

    assert opened == [LINK]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", None, 3])
def test_what_is_no_link_is_not_opened(run, gateway, url):
    gateway.answer({"url": url})

    result = run("web", "--open")

    assert result.code == 1
    assert "gave no link" in result.stderr
