# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest


class Browser:
    """A browser of somebody's: it keeps cookies, and follows what people would follow."""

    def __init__(self, gateway) -> None:
        self.gateway = gateway
        self.client = gateway.app.test_client()

    def log_in(self, by="alice:1001:1001", system="mycluster"):
        entered = self.press(self.client.get(self.link(by, system)))
        assert entered.status_code == 303, entered.text
        return entered

    def link(self, by="alice:1001:1001", system="mycluster"):
        """What `shifterimg web` shows, without the gateway's address."""
        url = self.gateway.request("POST", f"/api/web/{system}/", by=by).json["url"]
        return url[url.index("/web/") :]

    def press(self, page, **changes):
        """The button of the page that a link leads to."""
        assert page.status_code == 200, page.text
        return self.client.post(page.request.path, data=fields_of(page) | changes)

    def get(self, path="", system="mycluster", **options):
        return self.client.get(f"/web/{system}/{path}", **options)

    def post(self, path, system="mycluster", **form):
        return self.client.post(f"/web/{system}/{path}", data=form)


def fields_of(page):
    """What its form would send."""
    return {
        name: re.search(f'name="{name}" value="([^"]*)"', page.text)[1]
        for name in ("ticket", "word")
    }


class Elements(HTMLParser):
    """The elements of a page, and what is written in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def elements():
    """The elements of an answer."""

    def parse(answer):
        parser = Elements()
        parser.feed(answer.text)
        parser.close()
        return parser

    return parse


@pytest.fixture
def browser(gateway):
    return Browser(gateway)


@pytest.fixture
def browser_of():
    return Browser


@pytest.fixture
def pulled():
    """Have an image on a gateway: `pulled(gateway, tag, by=…, body=…, **what was found)`."""

    def pull(gateway, tag="app:1", content="a", by="alice:1001:1001", body=None, **found):
        options = {} if body is None else {"data": body}
        answer = gateway.request("POST", f"/api/pull/mycluster/docker/{tag}/", by=by, **options)
        assert answer.status_code == 200, answer.text
        return gateway.work(content, **found)

    return pull
