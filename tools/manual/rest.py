# SPDX-License-Identifier: BSD-3-Clause
"""The page of the REST interface, from its OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shifter_imagegw.api.openapi import document

_METHODS = ("get", "post", "put", "delete")

Part = dict[str, Any]


def page() -> str:
    """All of it, by what operations are for."""
    described = document()
    parts = [
        "# REST interface",
        described["info"]["description"],
        "A running gateway serves this description, with every field, as `/openapi.json`.",
    ]
    for tag in described["tags"]:
        operations = [found for found in _operations(described) if tag["name"] in found[2]["tags"]]
        if operations:
            parts.append(f"## {tag['description']}")
            parts += [_operation(described, *found) for found in operations]
    parts.append("## Objects")
    parts += [_object(described, name) for name in described["components"]["schemas"]]
    return "\n\n".join(parts) + "\n"


def _operations(described: Part) -> Iterator[tuple[str, str, Part]]:
    for path, methods in described["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def _operation(described: Part, path: str, method: str, operation: Part) -> str:
    lines = [f"### `{method.upper()} {path}`", f"{operation['summary']}."]
    if "description" in operation:
        lines.append(operation["description"])
    parameters = [_resolved(described, part) for part in operation.get("parameters", [])]
    rows = [
        f"| `{part['name']}` | {part['in']} | {_text(part)} |"
        for part in parameters
        if part["in"] != "path"
    ]
    if "requestBody" in operation:
        request = operation["requestBody"]
        rows.append(f"| body | {_kinds(request)} | {_text(request)} |")
    if rows:
        lines.append("\n".join(["| | | |", "| --- | --- | --- |", *rows]))
    answers = [
        (status, _resolved(described, part)) for status, part in operation["responses"].items()
    ]
    good = [(status, part) for status, part in answers if status < "400"]
    bad = [status for status, _ in answers if status >= "400"]
    for status, part in good:
        lines.append(f"Answer {status}: {_text(part)} {_kinds(part)}".rstrip())
    if bad:
        lines.append(f"Refused with {', '.join(bad)}.")
    return "\n\n".join(lines)


def _object(described: Part, name: str) -> str:
    schema = described["components"]["schemas"][name]
    lines = [f"### {name}"]
    if "description" in schema:
        lines.append(_text(schema))
    fields = dict(_fields(described, schema))
    if fields:
        rows = [
            f"| `{key}` | {_type(described, field)} | {_text(field)} |"
            for key, field in fields.items()
        ]
        lines.append("\n".join(["| field | is | |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(lines)


def _fields(described: Part, schema: Part) -> Iterator[tuple[str, Part]]:
    schema = _resolved(described, schema)
    for part in schema.get("allOf", []):
        yield from _fields(described, part)
    yield from schema.get("properties", {}).items()


def _type(described: Part, schema: Part) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(_type(described, choice) for choice in choices)
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "items" in schema:
        kinds = [
            f"array of {_type(described, schema['items'])}" if kind == "array" else kind
            for kind in kinds
        ]
    return " or ".join(kinds)


def _kinds(part: Part) -> str:
    names = []
    for kind, content in part.get("content", {}).items():
        reference = content.get("schema", {}).get("$ref", "")
        name = reference.rpartition("/")[2]
        names.append(f"[{name}](#{name.lower()})" if name else f"`{kind}`")
    return ", ".join(names)


def _text(part: Part) -> str:
    return " ".join(part.get("description", "").replace("|", "\\|").replace("<", "&lt;").split())


def _resolved(described: Part, part: Part) -> Part:
    found: Any = part
    while "$ref" in found:
        reference, found = found["$ref"], described
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    return dict(found)
