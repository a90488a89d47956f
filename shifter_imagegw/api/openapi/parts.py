# SPDX-License-Identifier: BSD-3-Clause
"""What operations of the description are put together from: parameters, answers, bodies."""

from __future__ import annotations

from typing import Any

Part = dict[str, Any]

_JSON = "application/json"

PARAMETERS: Part = {
    "system": {
        "name": "system",
        "in": "path",
        "required": True,
        "description": "A cluster, as `Platforms` of imagemanager.json calls it.",
        "schema": {"type": "string", "minLength": 1},
        "example": "mycluster",
    },
    "type": {
        "name": "type",
        "in": "path",
        "required": True,
        "description": "Where the image is from: a registry, a file of a user's; or its id.",
        "schema": {"type": "string", "enum": ["docker", "custom", "id", "local"]},
        "example": "docker",
    },
    "tag": {
        "name": "tag",
        "in": "path",
        "required": True,
        "description": "Its name, `:latest` where that names no tag; `/` as such or as %2F.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 512},
        "example": "ubuntu:24.04",
    },
}


def reference(name: str) -> Part:
    return {"$ref": f"#/components/parameters/{name}"}


def schema(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}


SYSTEM = [reference("system")]
IMAGE = [reference("system"), reference("type"), reference("tag")]


def number(name: str, description: str, *, default: int, least: int, most: int) -> Part:
    """A number in the query."""
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "integer", "minimum": least, "maximum": most, "default": default},
    }


def text(name: str, description: str) -> Part:
    """A text in the query, which may be left out."""
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string"}}


def content(of: Part) -> Part:
    return {_JSON: {"schema": of}}


def answer(description: str, of: Part) -> Part:
    return {"description": description, "content": content(of)}


def body(name: str, description: str, *, required: bool = False) -> Part:
    """An object of JSON; where it is not required, nothing at all stands for an empty one."""
    return {"description": description, "required": required, "content": content(schema(name))}


def _refusal(description: str) -> Part:
    return answer(description, schema("Refusal"))


RESPONSES: Part = {
    "400": _refusal("The request is not understood: its path, its query or its body."),
    "401": _refusal("No munge credential, or none that munge accepts."),
    "403": _refusal("Understood, and not for this caller."),
    "404": _refusal("No such system, or no such image for this caller."),
    "405": _refusal("Not with this method; `Allow` says with which."),
    "409": _refusal("Something else is being done under this name."),
    "413": _refusal("The body is longer than 64 KiB."),
    "416": _refusal("The file has no such range."),
    "429": _refusal("Too much at a time; `Retry-After` says when to try again."),
    "502": _refusal("A registry did not answer, or not as it should."),
    "503": _refusal("The catalog or munge does not answer; the next request may succeed."),
}
RESPONSES["405"]["headers"] = {"Allow": {"schema": {"type": "string"}}}
RESPONSES["429"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}


def operation(
    summary: str,
    tag: str,
    success: Part,
    *further: str,
    status: str = "200",
    parameters: list[Part] | None = None,
    request: Part | None = None,
    description: str = "",
    identifier: str,
    public: bool = False,
) -> Part:
    """An operation; `further` are statuses that it may be refused with beside those of all.

    Where `public`, no credential is asked for.
    """
    refusals = [*further] if public else ["400", "401", "404", "503", *further]
    made: Part = {
        "operationId": identifier,
        "summary": summary,
        "tags": [tag],
        "responses": {
            status: success,
            **{name: {"$ref": f"#/components/responses/{name}"} for name in sorted(refusals)},
        },
    }
    if description:
        made["description"] = description
    if parameters:
        made["parameters"] = parameters
    if request:
        made["requestBody"] = request
    if public:
        made["security"] = []
    return made
