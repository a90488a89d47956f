# SPDX-License-Identifier: BSD-3-Clause
"""Routes for one image, beside those that the original has."""

from __future__ import annotations

from flask import Blueprint, Response

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking

images = Blueprint("images", __name__)


@images.get("/api/inspect/<system>/<image_type>/<tag:tag>/")
def inspect(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    return asking.answer(asking.service().inspections.inspect(where, reference, caller).to_wire())


@images.post("/api/acl/<system>/<image_type>/<tag:tag>/")
def acl(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    body = asking.body()
    record = asking.service().acls.change(
        where, reference, caller, body.acl(), public=body.flag("public")
    )
    return asking.progress(record)
