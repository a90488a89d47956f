# SPDX-License-Identifier: BSD-3-Clause
"""The objects that travel: what records.py, views and their like write, and what they read."""

from __future__ import annotations

from typing import Any

from shifter_imagegw.api.openapi.parts import schema
from shifter_imagegw.records import MISSING, JobKind, PullState

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
_TIME: Schema = {"type": ["number", "null"], "description": "Seconds since the epoch."}
_ID: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": 4294967295}
_IDS: Schema = {"type": ["array", "null"], "items": {"type": "integer", "minimum": 0}}


def _object(properties: Schema, *, optional: tuple[str, ...] = (), description: str = "") -> Schema:
    made: Schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }
    if description:
        made["description"] = description
    return made


def _known(of: Schema, description: str = "") -> Schema:
    """A value, or the word that the original writes where it knows none."""
    made: Schema = {"anyOf": [of, {"const": MISSING}]}
    if description:
        made["description"] = description
    return made


def _list_of(of: Schema) -> Schema:
    return _object({"list": {"type": "array", "items": of}})


_TEXTS: Schema = {"type": "array", "items": _STRING}
_STATES = sorted(state.value for state in PullState)

_IMAGE: Schema = {
    "id": _known(
        _STRING, "What `--image=id:…` takes: of what a registry has, its manifest's sha256"
    ),
    "system": _STRING,
    "itype": _STRING,
    "tag": {"type": "array", "items": _STRING, "description": "All names of the image."},
    "status": {"type": "string", "enum": _STATES},
    "userACL": _IDS | {"description": "uids that may use it; with both lists empty, everybody"},
    "groupACL": _IDS,
    "ENV": _known(_TEXTS),
    "ENTRY": _known(_TEXTS),
    "WORKDIR": _known(_STRING),
    "LABELS": _known({"type": "object", "additionalProperties": _STRING}),
    "last_pull": _known({"type": "number"}, "Seconds since the epoch."),
    "status_message": _known(_STRING, "How far a pull is; why it failed."),
    "bytes_done": _COUNT,
    "bytes_total": _COUNT,
    "size": _COUNT | {"description": "Of the image file, in bytes."},
    "digest": {"type": ["string", "null"], "description": "`sha256:…` of what it was made of."},
    "expiration": _TIME,
    "private": {"type": ["boolean", "null"]},
    "puller": _ID | {"description": "Who pulled or imported it first."},
    "format": _STRING,
    "arch": _STRING | {"description": "As OCI calls it: `amd64`, `arm64`."},
}

_HAPPENED: Schema = {
    name: {"type": "integer", "minimum": 0} for name in ("lookups", "pulls", "failures")
}
_USAGE: Schema = {"images": _COUNT, "bytes": _COUNT} | _HAPPENED
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_LAYERS_PROGRESS: Schema = {
    "type": ["array", "null"],
    "items": _object(
        {
            "digest": _STRING,
            "size": {"type": "integer", "minimum": 0},
            "done": {"type": "integer", "minimum": 0},
        }
    ),
    "description": "How many bytes are here of each layer of a pull.",
}

_INSPECTED: Schema = {
    "os": _STRING,
    "CMD": {"type": ["array", "null"], "items": _STRING},
    "path": {"type": "string", "description": "Of the image file, as nodes see it."},
    "created": _TEXT_OR_NULL | {"description": "As the image's config says."},
    "author": _TEXT_OR_NULL,
    "user": _TEXT_OR_NULL | {"description": "Whom other engines run its program as."},
    "layers": {
        "type": ["array", "null"],
        "items": _object(
            {
                "digest": _STRING,
                "size": {"type": "integer", "minimum": 0},
                "media_type": _STRING,
            }
        ),
        "description": "The lowest first; null where that is not known.",
    },
    "history": {
        "type": ["array", "null"],
        "items": _object(
            {
                "created": _STRING,
                "created_by": _STRING,
                "comment": _STRING,
                "empty_layer": {"type": "boolean"},
            }
        ),
    },
    "truncated": {"type": "boolean", "description": "There was more than is kept."},
    "first_pull": _TIME,
    "puller_name": _TEXT_OR_NULL,
    "is_owner": {"type": "boolean", "description": "The caller pulled or imported it first."},
    "may_change": {"type": "boolean", "description": "The caller may remove it."},
    "source_path": _TEXT_OR_NULL
    | {"description": "Of an import, for its owner and administrators."},
    "source_format": _TEXT_OR_NULL,
}

SCHEMAS: Schema = {
    "Image": _object(_IMAGE, description="An image, or a pull on its way to be one."),
    "Images": _list_of(schema("Image")),
    "Tags": _object(
        {
            "location": _STRING,
            "repository": _STRING | {"description": "As its registry knows it."},
            "tags": {"type": "array", "items": _STRING},
            "next": _TEXT_OR_NULL | {"description": "What `last` is to be for those that follow."},
        }
    ),
    "Upstream": _object(
        {
            "location": _STRING,
            "id": _STRING | {"description": "How the image would be called here."},
            "digest": _STRING,
        }
    ),
    "LoginTry": {
        "type": "object",
        "properties": {
            "location": {
                "type": "string",
                "minLength": 1,
                "description": "A location of the gateway's, its registry's host, or `default`.",
            }
        },
        "required": ["location"],
    },
    "AcceptedLogin": _object(
        {
            "status": {"const": True},
            "location": _STRING,
            "url": _STRING,
            "verified": {
                "type": "boolean",
                "description": "False where the registry lets everybody in, and has not looked.",
            },
        }
    ),
    "Progress": _object(
        _IMAGE | {"layers_progress": _LAYERS_PROGRESS},
        description="How far a job is, or the image.",
    ),
    "Inspection": _object(_IMAGE | _INSPECTED, description="All that is known of an image."),
    "Job": _object(
        {
            "status": {"type": "string", "enum": _STATES},
            "image": _STRING,
            "puller": _ID,
            "status_message": {"type": ["string", "null"]},
            "bytes_done": _COUNT,
            "bytes_total": _COUNT,
            "itype": _STRING,
            "kind": {"type": "string", "enum": sorted(kind.value for kind in JobKind)},
            "since": _TIME,
            "puller_name": _TEXT_OR_NULL,
            "attempts": {"type": "integer", "minimum": 0},
            "layers_progress": _LAYERS_PROGRESS,
            "is_mine": {"type": "boolean"},
        }
    ),
    "Jobs": _list_of(schema("Job")),
    "Lookup": _object(
        {
            "user": _STRING,
            "uid": _ID,
            "system": _STRING,
            "type": _STRING,
            "tag": _STRING,
            "id": _STRING,
            "time": {"type": "number"},
        }
    ),
    "Lookups": {"type": "array", "items": schema("Lookup")},
    "Link": _object(
        {
            "url": {"type": "string", "format": "uri", "description": "To open in a browser."},
            "expires": {"type": "number", "description": "When it ends, in seconds since 1970."},
        }
    ),
    "Stats": _object(
        {
            "days": {"type": "array", "items": schema("Day")},
            "top_images": {"type": "array", "items": schema("UsedImage")},
            "top_users": {"type": ["array", "null"], "items": schema("UsingUser")},
            "totals": schema("Totals"),
        }
    ),
    "Day": _object(
        {"day": {"type": "string", "format": "date", "description": "In UTC."}} | _USAGE,
        description="What happened, and what was there when that was last looked at.",
    ),
    "Totals": _object(_USAGE),
    "UsedImage": _object(
        {
            "image": {"type": "string", "examples": ["docker:ubuntu:24.04"]},
            "users": _COUNT | {"description": "How many looked it up; null where nobody knows."},
        }
        | _HAPPENED
    ),
    "UsingUser": _object({"uid": _ID, "name": {"type": ["string", "null"]}} | _HAPPENED),
    "User": _object(
        {
            "uid": _ID | {"description": "null: images of which nobody knows who pulled them."},
            "name": {"type": ["string", "null"]},
            "images": {"type": "integer", "minimum": 0},
            "bytes": {"type": "integer", "minimum": 0},
            "in_flight": {"type": "integer", "minimum": 0},
            "last_pull": _TIME,
        }
    ),
    "Users": _list_of(schema("User")),
    "Done": _object({"status": {"const": True}}),
    "Removed": _object({"status": {"type": "array", "items": _STRING}}),
    "Readers": {
        "type": "object",
        "description": "Who may use the image, beside who asks; empty: everybody, where its "
        "registry shows it to everybody.",
        "properties": {
            "allowed_uids": schema("Ids"),
            "allowed_gids": schema("Ids"),
            "allowed_users": schema("Names"),
            "allowed_groups": schema("Names"),
        },
    },
    "ChangedReaders": {
        "type": "object",
        "description": "Who is to use the image, beside its owner; the lists are set to exactly "
        "these.",
        "properties": {
            "allowed_uids": schema("Ids"),
            "allowed_gids": schema("Ids"),
            "allowed_users": schema("Names"),
            "allowed_groups": schema("Names"),
            "public": {"type": "boolean", "description": "Everybody; then without lists."},
        },
    },
    "Ids": {
        "description": "Numbers with commas between them, or a list of them.",
        "anyOf": [
            {"type": "string", "pattern": "^([0-9]{1,9}(,[0-9]{1,9})*)?$"},
            {
                "type": "array",
                "maxItems": 1000,
                "items": {"type": "integer", "minimum": 0, "maximum": 4294967294},
            },
            {"type": "null"},
        ],
        "examples": ["1001,1002"],
    },
    "Names": {
        "description": "Names that the gateway's host knows, with commas between them, or a list.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": _STRING}, {"type": "null"}],
        "examples": ["alice,bob"],
    },
    "Import": {
        "type": "object",
        "properties": {
            "filepath": {
                "type": "string",
                "description": "Absolute path of a file or directory on the gateway's host.",
                "minLength": 1,
            },
            "format": {"type": "string", "description": "What that is; `auto` looks into it."},
            "allowed_uids": schema("Ids"),
            "allowed_gids": schema("Ids"),
            "allowed_users": schema("Names"),
            "allowed_groups": schema("Names"),
        },
        "required": ["filepath", "format"],
    },
    "Refusal": _object(
        {
            "status": {"type": "integer", "description": "The HTTP status once more."},
            "error": {"type": "string", "description": "Why, in a sentence for people."},
            "message": {"type": "string", "description": "What the original's clients show."},
        }
    ),
    "Health": _object({"status": {"enum": ["ok", "alive"]}}),
    "Readiness": {
        "type": "object",
        "properties": {
            "status": {"enum": ["ready", "not ready"]},
            "missing": {"type": "object", "additionalProperties": _STRING},
            "late": {"type": "object", "additionalProperties": _STRING},
        },
        "required": ["status"],
    },
}
