# SPDX-License-Identifier: BSD-3-Clause
"""Routes for what waits, runs or has failed."""

from __future__ import annotations

from flask import Blueprint, Response

from shifter_common.reference import ImageReference
from shifter_imagegw.api import asking

queue = Blueprint("queue", __name__)


@queue.get("/api/queue/<system>/")
def list_queue(system: str) -> Response:
    where = asking.service().system(system)
    jobs = asking.service().list_queue(where, asking.caller(where))
    return asking.answer({"list": [job.to_wire() for job in jobs]})


@queue.post("/api/cancel/<system>/<image_type>/<tag:tag>/")
def cancel(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    return asking.progress(asking.service().job_control.cancel(where, reference, caller))


@queue.post("/api/requeue/<system>/<image_type>/<tag:tag>/")
def requeue(system: str, image_type: str, tag: str) -> Response:
    where = asking.service().system(system)
    caller = asking.caller(where)
    reference = ImageReference.checked(image_type, tag)
    return asking.progress(asking.service().job_control.requeue(where, reference, caller))
