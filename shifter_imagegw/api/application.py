# SPDX-License-Identifier: BSD-3-Clause
"""The gateway's API as a WSGI application."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from shifter_common.errors import InvalidReferenceError
from shifter_imagegw.api.exports import exports
from shifter_imagegw.api.images import images
from shifter_imagegw.api.openapi import openapi
from shifter_imagegw.api.operation import operation
from shifter_imagegw.api.queue import queue
from shifter_imagegw.api.registries import registries
from shifter_imagegw.api.views import api
from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import Sealer
from shifter_imagegw.errors import GatewayError, RangeError
from shifter_imagegw.rules.auth import Authenticator
from shifter_imagegw.rules.browsing import Browsing
from shifter_imagegw.rules.jobs import Nudge, no_nudge
from shifter_imagegw.rules.service import Service
from shifter_imagegw.rules.visits import Visits
from shifter_imagegw.web.addresses import Addresses
from shifter_imagegw.web.pages import web_page

log = logging.getLogger(__name__)

_LONGEST_BODY = 64 * 1024  # bytes; two lists of a thousand ids fit


class TagConverter(BaseConverter):
    """The rest of a path, whatever it holds: `docker://ubuntu` is sent as `//ubuntu`."""

    regex = r"[\s\S]+?"
    part_isolating = False


def create_app(
    config: GatewayConfig, catalog: Catalog, sealer: Sealer, nudge: Nudge = no_nudge
) -> Flask:
    """Make the application; it holds no state of its own, so any number of processes may serve."""
    app = Flask("shifter_imagegw", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LONGEST_BODY
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # they would answer in HTML, to anybody
    app.url_map.converters["tag"] = TagConverter
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.extensions["shifter_service"] = Service(config, catalog, sealer, nudge=nudge)
    app.extensions["shifter_authenticator"] = Authenticator(config)
    for routes in (api, exports, images, queue, registries):
        app.register_blueprint(routes)
    app.register_blueprint(operation(config, catalog))
    app.register_blueprint(openapi)
    visits = Visits(config, catalog, sealer)
    app.extensions["shifter_visits"] = visits
    app.extensions["shifter_addresses"] = Addresses(config)
    if config.web_page:
        app.register_blueprint(web_page(config, visits, Browsing(config, catalog)))
    app.register_error_handler(GatewayError, _refuse)
    app.register_error_handler(InvalidReferenceError, _refuse_reference)
    app.register_error_handler(HTTPException, _refuse_request)
    app.register_error_handler(Exception, _confess)
    return app


def _refuse(error: GatewayError) -> Response:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request not served path=%r reason=%s", request.path, error)
    response = _error(error.status, str(error))
    if isinstance(error, RangeError):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _refuse_reference(error: InvalidReferenceError) -> Response:
    return _error(HTTPStatus.BAD_REQUEST, str(error))


def _refuse_request(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    texts = {
        HTTPStatus.NOT_FOUND: f"there is no route {request.path!r}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not allowed on {request.path!r}",
    }
    response = _error(status, texts.get(HTTPStatus(status), error.description or error.name))
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _confess(error: Exception) -> Response:
    log.exception("request met a defect path=%r", request.path, exc_info=error)
    return _error(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the gateway met an error that it did not expect; its log has the details",
    )


def _error(status: int, text: str) -> Response:
    reason = HTTPStatus(status).phrase
    # As it was sent, percent signs included, where the server kept that.
    target = request.environ.get("RAW_URI") or request.full_path
    content = {
        "status": int(status),
        "error": text,
        "message": f"{reason}: {request.scheme}://{request.host}{target}",
    }
    body = json.dumps(content, separators=(",", ":"))
    return Response(body, status=status, content_type="application/json")
