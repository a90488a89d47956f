# SPDX-License-Identifier: BSD-3-Clause
"""The operations that need no credential: what watches over the gateway, and this description."""

from __future__ import annotations

from typing import Any

from shifter_imagegw.api.openapi.parts import answer, operation, schema

_TEXT = {"text/plain": {"schema": {"type": "string"}}}

PATHS: dict[str, Any] = {
    "/api/health/": {
        "get": operation(
            "Say whether requests can be answered", "operation",
            answer("The catalog answers.", schema("Health")), "503",
            identifier="health", public=True,
        ),
    },
    "/healthz": {
        "get": operation(
            "Say that this process lives", "operation",
            answer("It does.", schema("Health")), identifier="healthz", public=True,
        ),
    },
    "/readyz": {
        "get": operation(
            "Say whether all parts are there", "operation",
            answer("They are; `late` names systems whose pulls wait.", schema("Readiness")),
            identifier="readyz", public=True,
        ),
    },
    "/metrics": {
        "get": operation(
            "Counts for Prometheus", "operation",
            {"description": "Its text format.", "content": _TEXT},
            identifier="prometheus", public=True,
        ),
    },
    "/openapi.json": {
        "get": operation(
            "This description", "operation",
            answer("OpenAPI 3.1.", {"type": "object"}), identifier="description", public=True,
        ),
    },
}  # fmt: skip
_READINESS = PATHS["/readyz"]["get"]["responses"]
_READINESS["503"] = answer("A part is missing; `missing` says which.", schema("Readiness"))
