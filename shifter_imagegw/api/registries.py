# SPDX-License-Identifier: BSD-3-Clause
"""Routes for what registries know: tags, what one means, and whether they accept a login."""

from __future__ import annotations

from flask import Blueprint, Response, request

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking

_TAGS_SHOWN = 100
_MOST_TAGS = 1000

registries = Blueprint("registries", __name__)


@registries.get("/api/tags/<system>/<image_type>/<tag:tag>/")
def tags(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    limit = asking.number("limit", default=_TAGS_SHOWN, most=_MOST_TAGS, least=1)
    last = request.args.get("last")
    found = asking.service().registries.tags(reference, caller, last=last, limit=limit)
    return asking.answer(found.to_wire())


@registries.get("/api/upstream/<system>/<image_type>/<tag:tag>/")
def upstream(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    found = asking.service().registries.upstream(where, reference, caller)
    return asking.answer(found.to_wire())


@registries.post("/api/login/<system>/")
def login(system: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    accepted = asking.service().registries.log_in(asking.body().text("location"), caller)
    return asking.answer(accepted.to_wire())
