# SPDX-License-Identifier: BSD-3-Clause
"""What is shown in place of a page: a sentence, and a way on."""

from __future__ import annotations

import contextlib
import logging
from http import HTTPStatus

from flask import Blueprint, Response, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from shifter_common.errors import InvalidReferenceError
from shifter_imagegw.errors import GatewayError
from shifter_imagegw.web.addresses import Addresses
from shifter_imagegw.web.entrance import Entrance, NotLoggedInError
from shifter_imagegw.web.rendering import Renderer

log = logging.getLogger(__name__)

_FOR_SCRIPTS = ("web.rows", "web.events")


class NoSuchPageError(GatewayError):
    status = 404


class Refusals:
    """Answers of pages that went wrong."""

    def __init__(self, addresses: Addresses, entrance: Entrance, renderer: Renderer) -> None:
        self._addresses = addresses
        self._entrance = entrance
        self._renderer = renderer

    def register(self, pages: Blueprint) -> None:
        pages.register_error_handler(NotLoggedInError, self._lead_to_login)
        pages.register_error_handler(GatewayError, lambda error: self._page(error.status, error))
        pages.register_error_handler(
            InvalidReferenceError, lambda error: self._page(HTTPStatus.NOT_FOUND, error)
        )
        pages.register_error_handler(HTTPException, self._refuse_request)
        pages.register_error_handler(Exception, self._confess)

    def _lead_to_login(self, error: NotLoggedInError) -> AnyResponse:
        if request.endpoint in _FOR_SCRIPTS:
            return Response(status=HTTPStatus.UNAUTHORIZED)
        return redirect(self._addresses.of(error.visit.system, "login"), HTTPStatus.SEE_OTHER)

    def _refuse_request(self, error: HTTPException) -> AnyResponse:
        return self._page(error.code or HTTPStatus.BAD_REQUEST, error.description or error.name)

    def _confess(self, error: Exception) -> AnyResponse:
        log.exception("page met a defect path=%r", request.path, exc_info=error)
        return self._page(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "the gateway met an error that it did not expect; its log has the details",
        )

    def _page(self, status: int, sentence: object) -> AnyResponse:
        visit = None
        if status != HTTPStatus.SERVICE_UNAVAILABLE:  # a catalog that is away is not asked again
            with contextlib.suppress(GatewayError):
                visit = self._entrance.visit(str((request.view_args or {}).get("system")))
        return self._renderer.refusal(status, str(sentence), visit)
