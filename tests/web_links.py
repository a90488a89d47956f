# SPDX-License-Identifier: BSD-3-Clause
"""Links of `shifterimg web`, followed by a program as people do it with a browser."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import requests


def look(browser: requests.Session, link: str) -> dict[str, str]:
    """Open a link; what the button of the page that it leads to would send, if it has one."""
    page = browser.get(link, timeout=30).text
    found = re.findall(r'name="(ticket|word)" value="([^"]*)"', page)
    return dict(found)


def press(browser: requests.Session, link: str, fields: dict[str, str]) -> requests.Response:
    """Press that button."""
    address = urlsplit(link)._replace(query="").geturl()
    return browser.post(address, data=fields, allow_redirects=False, timeout=30)
