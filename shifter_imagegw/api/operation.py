# SPDX-License-Identifier: BSD-3-Clause
"""What watches over the gateway: is it alive, is it ready, what does it do.

None of these routes needs a credential: load balancers and Prometheus have none. They show no
name of an image or a user.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from flask import Blueprint, Response, request

from shifter_imagegw.catalog import Catalog
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.operation import metrics, telemetry
from shifter_imagegw.operation.readiness import Readiness
from shifter_imagegw.operation.recent import Recent

_FOUND = {200: "yes", 404: "no"}  # what a lookup is answered


def operation(config: GatewayConfig, catalog: Catalog) -> Blueprint:
    routes = Blueprint("operation", __name__)
    readiness = Readiness(config, catalog)
    seen = Recent(lambda: metrics.look(config, catalog))
    telemetry.configure(config.cache_directory)

    @routes.get("/healthz")
    def healthz() -> Response:
        """This process answers; nothing else is looked at."""
        return _json({"status": "alive"})

    @routes.get("/readyz")
    def readyz() -> Response:
        """503 and why, as long as a part is missing without which requests fail."""
        missing = readiness.missing()
        if missing:
            content = {"status": "not ready", "missing": dict(missing)}
            return _json(content, HTTPStatus.SERVICE_UNAVAILABLE)
        return _json({"status": "ready", "late": dict(readiness.late())})

    @routes.get("/metrics")
    def show_metrics() -> Response:
        return Response(metrics.render(config, seen()), content_type=metrics.CONTENT_TYPE)

    @routes.after_app_request
    def count(response: Response) -> Response:
        route = (request.endpoint or "none").rpartition(".")[2]
        status = str(response.status_code)
        telemetry.count("shifter_http_requests_total", {"route": route, "status": status})
        system = str((request.view_args or {}).get("system"))
        found = _FOUND.get(response.status_code)
        if route == "lookup" and found and system in config.systems:
            telemetry.count("shifter_lookups_total", {"system": system, "found": found})
        return response

    return routes


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    response = Response(json.dumps(content), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
