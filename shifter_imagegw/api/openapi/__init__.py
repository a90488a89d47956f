# SPDX-License-Identifier: BSD-3-Clause
"""The REST interface described for programs: OpenAPI 3.1, served as /openapi.json.

Source: OpenAPI Specification 3.1.1. Every route of the application is described here; a test holds
both to each other, and another sends what the description allows, and what it does not.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response

from shifter_imagegw.api.openapi import operation_paths, paths, registry_paths
from shifter_imagegw.api.openapi.parts import PARAMETERS, RESPONSES
from shifter_imagegw.api.openapi.schemas import SCHEMAS
from shifter_imagegw.operation.metrics import release

_DESCRIPTION = """\
Fetches container images for the systems of a site, and tells where they are. The routes below
`/api` are those of NERSC's Shifter, with further ones and further fields beside them.

Every request carries a munge credential of its own in the header `authentication`: none is accepted
twice. It proves who asks. Registry logins travel in its payload, as
`{"authorized_locations": {"<location>": "<user>:<password>"}}`.

A pull, an import and a change of lists are followed by repeating the request until `status` is
`READY` or `FAILURE`. What fails is answered with a JSON object whose `error` is a sentence for
people.
"""

openapi = Blueprint("openapi", __name__)


@openapi.get("/openapi.json")
def show() -> Response:
    body = json.dumps(document(), separators=(",", ":"))
    return Response(body, content_type="application/json")


def document() -> dict[str, Any]:
    """The description as an object of JSON."""
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Shifter image gateway",
            "version": release(),
            "summary": "Container images for shared clusters",
            "description": _DESCRIPTION,
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "tags": [
            {"name": "images", "description": "Images that are here"},
            {"name": "jobs", "description": "Pulls, imports, removals, changes of lists"},
            {"name": "registries", "description": "What registries say"},
            {"name": "usage", "description": "Who uses what"},
            {"name": "operation", "description": "What watches over the gateway"},
        ],
        "paths": paths.PATHS | registry_paths.PATHS | operation_paths.PATHS,
        "components": {
            "schemas": SCHEMAS,
            "parameters": PARAMETERS,
            "responses": RESPONSES,
            "securitySchemes": {
                "munge": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "authentication",
                    "description": "A munge credential, made for this request alone.",
                }
            },
        },
        "security": [{"munge": []}],
    }
