# SPDX-License-Identifier: BSD-3-Clause
"""The operations below /api."""

from __future__ import annotations

from typing import Any

from shifter_imagegw.api.openapi.parts import (
    IMAGE,
    SYSTEM,
    answer,
    body,
    number,
    operation,
    schema,
)

_PROGRESS = answer("How far it is, or the image.", schema("Progress"))
_DONE = answer("Asked for; it goes soon.", schema("Done"))

_FILE = {
    "description": "Its bytes.",
    "headers": {
        name: {"schema": {"type": "string"}}
        for name in ("Content-Length", "ETag", "X-Shifter-Format", "X-Shifter-Id")
    },
    "content": {"application/octet-stream": {}},
}

_LOOKUP = operation(
    "Find the image that a name means", "images",
    answer("The image, READY.", schema("Image")),
    identifier="lookup", parameters=IMAGE,
    description="Being asked for keeps an image from expiring.",
)  # fmt: skip


def _expire(identifier: str) -> dict[str, Any]:
    return operation(
        "Remove an image, with all of its names", "images", _DONE, "403",
        identifier=identifier, parameters=IMAGE,
        description="For who pulled it first, and for administrators.",
    )  # fmt: skip


def _autoexpire(identifier: str) -> dict[str, Any]:
    return operation(
        "Remove all images that nobody has asked for in a long time", "images",
        answer("Their ids.", schema("Removed")), "403",
        identifier=identifier, parameters=SYSTEM, description="For administrators.",
    )  # fmt: skip


PATHS: dict[str, Any] = {
    "/api/lookup/{system}/{type}/{tag}/": {"get": _LOOKUP},
    "/api/image/{system}/{type}/{tag}/": {
        "get": _LOOKUP | {"operationId": "image"},
        "delete": _expire("remove"),
    },
    "/api/inspect/{system}/{type}/{tag}/": {
        "get": operation(
            "Tell all that is known of an image", "images",
            answer("The image, READY.", schema("Inspection")),
            identifier="inspect", parameters=IMAGE,
            description="No lookup: it keeps no image from expiring.",
        ),
    },
    "/api/acl/{system}/{type}/{tag}/": {
        "post": operation(
            "Change who may use an image", "images", _PROGRESS, "403", "409", "413", "429",
            identifier="acl", parameters=IMAGE,
            request=body("ChangedReaders", "Who; nothing: its owner alone."),
            description="For who pulled it first, and for administrators. Repeat it until `status` "
            "is READY or FAILURE.",
        ),
    },
    "/api/export/{system}/{type}/{tag}/": {
        "get": operation(
            "Fetch the file of an image", "images", _FILE, "416", "429",
            identifier="export", parameters=IMAGE,
            description="With `Range` and `If-Range`, to go on where one broke off: then the "
            "status is 206. Not of a directory (VFS).",
        ),
    },
    "/api/list/{system}/": {
        "get": operation(
            "List the images that the caller may use", "images",
            answer("All that are READY.", schema("Images")),
            identifier="list", parameters=SYSTEM,
        ),
    },
    "/api/pull/{system}/{type}/{tag}/": {
        "post": operation(
            "Fetch an image from its registry", "jobs", _PROGRESS, "403", "409", "413", "429",
            identifier="pull", parameters=IMAGE,
            request=body("Readers", "Who may use the image; nothing: everybody."),
            description="Repeat it until `status` is READY or FAILURE.",
        ),
    },
    "/api/doimport/{system}/{type}/{tag}/": {
        "post": operation(
            "Make an image of a file", "jobs", _PROGRESS, "403", "409", "413", "429",
            identifier="import", parameters=IMAGE,
            request=body("Import", "Which file, and who may use the image.", required=True),
            description="Repeat it until `status` is READY or FAILURE.",
        ),
    },
    "/api/queue/{system}/": {
        "get": operation(
            "List what waits, runs or has failed", "jobs",
            answer("Oldest first.", schema("Jobs")),
            identifier="queue", parameters=SYSTEM,
        ),
    },
    "/api/cancel/{system}/{type}/{tag}/": {
        "post": operation(
            "End a job that waits or runs", "jobs", _PROGRESS, "403", "409",
            identifier="cancel", parameters=IMAGE,
            description="One's own; an administrator's, anybody's. All who wait for it read who "
            "did so. A removal ends so only before it has begun.",
        ),
    },
    "/api/requeue/{system}/{type}/{tag}/": {
        "post": operation(
            "Have a job done anew that has failed or is stuck", "jobs",
            _PROGRESS, "403", "409", "429",
            identifier="requeue", parameters=IMAGE,
            description="One's own; an administrator's, anybody's. The logins that a failed pull "
            "needs are the owner's, and come with the request once more.",
        ),
    },
    "/api/expire/{system}/{type}/{tag}/": {
        "get": _expire("expireByGet") | {"deprecated": True},
        "post": _expire("expire"),
    },
    "/api/autoexpire/{system}/": {
        "get": _autoexpire("autoexpireByGet") | {"deprecated": True},
        "post": _autoexpire("autoexpire"),
    },
    "/api/metrics/{system}/": {
        "get": operation(
            "List the last lookups", "usage",
            answer("Oldest first.", schema("Lookups")), "403",
            identifier="metrics",
            parameters=[
                *SYSTEM,
                number("limit", "How many.", default=10, least=0, most=10000),
            ],
            description="For administrators.",
        ),
    },
    "/api/stats/{system}/": {
        "get": operation(
            "Tell what was used in the last days", "usage",
            answer("Today is the last of the days.", schema("Stats")),
            identifier="stats",
            parameters=[
                *SYSTEM,
                number("days", "How many; at most UsageDays.", default=30, least=1, most=400),
            ],
            description="Administrators see all images and who used them, others totals and "
            "public images.",
        ),
    },
    "/api/users/{system}/": {
        "get": operation(
            "List what each user has", "usage",
            answer("Whose images take most comes first.", schema("Users")), "403",
            identifier="users", parameters=SYSTEM, description="For administrators.",
        ),
    },
    "/api/web/{system}/": {
        "post": operation(
            "Make a link that logs a browser in", "web",
            answer("It works once, and soon.", schema("Link")),
            identifier="web", parameters=SYSTEM,
        ),
    },
}  # fmt: skip
