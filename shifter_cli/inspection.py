# SPDX-License-Identifier: BSD-3-Clause
"""All that is known of one image, as text for a person and as single values for scripts."""

from __future__ import annotations

import dataclasses
import grp
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from shifter_cli import output
from shifter_cli.gateway.records import ImageRecord
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

_LABEL = "label."
_SHORT_DIGEST = len("sha256:") + 12
# How docker writes down the steps of a Dockerfile.
_STEP_PREFIXES = ("/bin/sh -c #(nop) ", "/bin/sh -c ")


class FieldError(ShifterError):
    """A value that images do not have."""


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a gateway says of `reference`; `record` is the part that lists have, too."""

    reference: ImageReference
    record: ImageRecord
    wire: Mapping[str, object]

    @classmethod
    def from_wire(cls, reference: ImageReference, wire: Mapping[str, object]) -> Inspection:
        return cls(reference, ImageRecord.from_wire(wire), wire)

    def text(self, key: str) -> str:
        value = self.wire.get(key)
        return value if isinstance(value, str) and value != "MISSING" else ""

    def texts(self, key: str) -> list[str]:
        value = self.wire.get(key)
        return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []

    def rows(self, key: str) -> list[Mapping[str, object]]:
        value = self.wire.get(key)
        return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []

    @property
    def owner(self) -> str:
        if name := self.text("puller_name"):
            return name
        return "" if self.record.puller is None else output.user_name(self.record.puller)

    @property
    def platform(self) -> str:
        return "/".join(part for part in (self.text("os"), self.text("arch")) if part)


def access_of(record: ImageRecord) -> list[str]:
    """Who may use an image: `user alice`, `group lab`; nobody named means everybody."""
    users = [f"user {output.user_name(uid)}" for uid in record.user_acl]
    return users + [f"group {group_name(gid)}" for gid in record.group_acl]


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)


# Single values


def field_lines(seen: Inspection, field: str) -> list[str]:
    """The lines of one value: text as it is, one line for each item of a list."""
    if field.startswith(_LABEL):
        label = seen.record.labels.get(field.removeprefix(_LABEL))
        return [] if label is None else [label]
    return list(_FIELDS[field](seen))


def require_field(field: str) -> None:
    if field not in _FIELDS and not field.startswith(_LABEL):
        known = ", ".join([*sorted(_FIELDS), f"{_LABEL}NAME"])
        raise FieldError(f"images have no field {field!r}: fields are {known}")


def _one(value: object) -> list[str]:
    return [] if value in (None, "") else [str(value)]


def _when(seconds: float | None) -> list[str]:
    return [output.local_time(seconds)] if seconds else []


def _first_pull(seen: Inspection) -> list[str]:
    value = seen.wire.get("first_pull")
    return _when(value if isinstance(value, (int, float)) else None)


def _json_rows(seen: Inspection, key: str) -> list[str]:
    return [json.dumps(row, separators=(",", ":")) for row in seen.rows(key)]


_FIELDS: dict[str, Callable[[Inspection], list[str]]] = {
    "access": lambda seen: access_of(seen.record) or ["everybody"],
    "arch": lambda seen: _one(seen.text("arch")),
    "author": lambda seen: _one(seen.text("author")),
    "cmd": lambda seen: seen.texts("CMD"),
    "created": lambda seen: _one(seen.text("created")),
    "digest": lambda seen: _one(seen.record.digest),
    "entrypoint": lambda seen: seen.texts("ENTRY"),
    "env": lambda seen: seen.texts("ENV"),
    "expires": lambda seen: _when(seen.record.expiration),
    "first-pull": _first_pull,
    "format": lambda seen: _one(seen.text("format")),
    "history": lambda seen: _json_rows(seen, "history"),
    "id": lambda seen: _one(seen.record.image_id),
    "labels": lambda seen: [f"{name}={text}" for name, text in seen.record.labels.items()],
    "last-pull": lambda seen: _when(seen.record.last_pull),
    "layers": lambda seen: _json_rows(seen, "layers"),
    "names": lambda seen: list(seen.record.tags),
    "os": lambda seen: _one(seen.text("os")),
    "owner": lambda seen: _one(seen.owner),
    "path": lambda seen: _one(seen.text("path")),
    "size": lambda seen: _one(seen.record.size),
    "type": lambda seen: _one(seen.record.image_type),
    "workdir": lambda seen: _one(seen.text("WORKDIR")),
}


# Text


def text_lines(seen: Inspection, columns: int | None = None) -> Iterator[str]:
    """Sections under headings; steps of the build, which may be pages, have at most `columns`."""
    yield str(seen.reference)
    yield from _pairs(_basics(seen))
    yield from _section("Starts", _pairs(_start(seen)))
    yield from _section("Environment", [f"  {text}" for text in sorted(seen.texts("ENV"))])
    labels = sorted(seen.record.labels.items())
    yield from _section("Labels", [f"  {name}={text}" for name, text in labels])
    yield from _section("Layers", _layers(seen.rows("layers")))
    steps = [line for row in seen.rows("history") if (line := _step(row))]
    yield from _section("History", [_cut(line, columns) for line in steps])


def _basics(seen: Inspection) -> list[tuple[str, str]]:
    record = seen.record
    is_id = record.digest == f"sha256:{record.image_id}"
    file = [] if record.size is None else [output.bytes_text(record.size)]
    others = [tag for tag in record.tags if tag != seen.reference.with_default_tag().tag]
    pulled = output.local_time(record.last_pull) if record.last_pull else ""
    return [
        ("Also called", ", ".join(others)),
        ("Id, digest" if is_id else "Id", record.image_id),
        ("Digest", "" if is_id else record.digest),
        ("Size", ", ".join([*file, *_one(seen.text("format"))])),
        ("Built for", seen.platform),
        (
            "Built",
            " by ".join(part for part in (seen.text("created"), seen.text("author")) if part),
        ),
        ("File", seen.text("path")),
        ("Owner", seen.owner),
        ("First pull", "".join(_first_pull(seen))),
        ("Last pull", pulled),
        ("Expires", _expiration(record)),
        ("Usable by", ", ".join(access_of(record)) or "everybody"),
    ]


def _expiration(record: ImageRecord) -> str:
    if not record.expiration:
        return ""
    return f"{output.local_time(record.expiration)}, unless somebody asks for it before"


def _start(seen: Inspection) -> list[tuple[str, str]]:
    return [
        ("Entrypoint", shlex.join(seen.texts("ENTRY"))),
        ("Command", shlex.join(seen.texts("CMD"))),
        ("Directory", seen.text("WORKDIR")),
    ]


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [f"  {title:<11}  {text}" for title, text in pairs if text]


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from lines


def _layers(rows: Sequence[Mapping[str, object]]) -> list[str]:
    lines = []
    for row in rows:
        digest, size = str(row.get("digest", "")), row.get("size")
        amount = output.bytes_text(size) if isinstance(size, int) else "-"
        kind = "".join(str(row.get("media_type") or "").partition("tar")[1:])
        lines.append(f"  {digest[:_SHORT_DIGEST]}  {amount:>9}  {kind}".rstrip())
    return lines


def _step(row: Mapping[str, object]) -> str:
    words = str(row.get("created_by") or row.get("comment") or "")
    for prefix in _STEP_PREFIXES:
        words = words.removeprefix(prefix)
    words = " ".join(words.split())
    return f"  {str(row.get('created') or '-')[:10]:<10}  {words}" if words else ""


def _cut(line: str, columns: int | None) -> str:
    return line if columns is None or len(line) <= columns else f"{line[: columns - 1]}…"
