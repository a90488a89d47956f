# SPDX-License-Identifier: BSD-3-Clause
"""Templates and what they may use; whatever is put into them is escaped."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from shifter_imagegw.records import ImageRecord
from shifter_imagegw.rules import accounts
from shifter_imagegw.rules.visits import Visit
from shifter_imagegw.web import words
from shifter_imagegw.web.addresses import Addresses

_TEMPLATES = Path(__file__).with_name("templates")
_TABS = (("images", "Images", ""), ("queue", "Queue", "queue"), ("usage", "Usage", "usage"))
_TAB_OF = {"image": "images"}
_PAGES = {"images": "", "rows": "queue/rows", "events": "queue/events"}
_HEADINGS = {404: "Not found", 403: "This does not work", 503: "Not now"}

_FILTERS = {
    "ago": words.ago,
    "built": words.built,
    "built_by": words.built_by,
    "group": words.group,
    "iso": words.iso,
    "moment": words.moment,
    "number": words.number,
    "sentence": words.sentence,
    "shell": words.shell,
    "short": words.short,
    "size": words.size,
    "user": words.user,
    "variable": words.variable,
}


class Renderer:
    """Makes answers of templates."""

    def __init__(self, addresses: Addresses, *, is_only_system: bool, is_open: bool) -> None:
        """`is_open`: there is something to be seen for those who are not logged in."""
        self._addresses = addresses
        self._is_open = is_open
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(_FILTERS, breakable=breakable, user_key=user_key)
        self._is_only_system = is_only_system

    def page(self, name: str, visit: Visit | None, /, **content: object) -> Response:
        text = self.text(name, visit, **content)
        return Response(text, content_type="text/html; charset=utf-8")

    def refusal(self, status: int, sentence: str, visit: Visit | None) -> Response:
        heading = _HEADINGS.get(status, HTTPStatus(status).phrase)
        sentence = words.sentence(sentence)
        response = self.page("refusal", visit, heading=heading, sentence=sentence)
        response.status_code = status
        return response

    def text(self, name: str, visit: Visit | None, /, **content: object) -> str:
        system = None if visit is None else visit.system

        def url(page: str, record: ImageRecord | None = None, tag: str | None = None) -> str:
            assert system is not None
            if record is not None:
                return self._addresses.image(system, record, tag)
            return self._addresses.of(system, _PAGES.get(page, page))

        tabs = _TABS if visit and (visit.caller or self._is_open) else ()
        return self._templates.get_template(f"{name}.html").render(
            visit=visit,
            system=system,
            is_only_system=self._is_only_system,
            home=self._addresses.home(),
            tab=_TAB_OF.get(name, name),
            tabs=[(tab, title, url(tab)) for tab, title, _ in tabs],
            static=self._addresses.static,
            url=url,
            now=time.time(),
            **content,
        )


def breakable(name: str) -> Markup:
    """A name that may go on in the next line behind each of its parts."""
    text = str(escape(name))
    for separator in ("/", ":", "@", "."):
        text = text.replace(separator, f"{separator}<wbr>")
    return Markup(text)


def user_key(uid: int) -> str:
    """What the list of images can be filtered by."""
    return accounts.name_of(uid) or str(uid)
