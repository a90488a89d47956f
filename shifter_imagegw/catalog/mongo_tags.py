# SPDX-License-Identifier: BSD-3-Clause
"""Which document carries a tag, where no two documents can be changed in one step.

A tag that moves is first added to the image that gets it and then taken from the others, so that
it is never on none. Every move has a number, larger than that of all moves before. While a tag is
on two documents, or stays on two because a process died in between, it belongs to the one with
the larger number: whoever reads sees that, and the next who moves the tag, or expires the image,
takes it from the other. (A transaction would do, but only in a replica set, which many sites of
the original do not have.)

The original reads `tag`, a list. `tag_moves` stands beside it, with an entry for each tag and
image type: the same content may be known as `docker:x` and `custom:x`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Document = dict[str, Any]


class TagMove(NamedTuple):
    """A tag on a document; number 0: from before moves were counted."""

    image_type: str
    tag: str
    number: int


def tags_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The tags, of whichever type; the first releases of the original had one, as a text."""
    value = document.get("tag")
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(map(str, value)) if isinstance(value, list) else ()


def moves_of(document: Mapping[str, Any]) -> list[TagMove]:
    """One for each tag, whoever has written it: `tag` says which there are."""
    noted: dict[str, list[TagMove]] = {}
    for entry in document.get("tag_moves") or ():
        move = TagMove(entry["itype"], entry["tag"], entry["number"])
        noted.setdefault(move.tag, []).append(move)
    image_type = document.get("itype", "")
    return [
        move
        for tag in dict.fromkeys(tags_of(document))
        for move in noted.get(tag, [TagMove(image_type, tag, 0)])
    ]


def number_of(document: Mapping[str, Any], image_type: str, tag: str) -> int | None:
    """The number of the move that brought a tag here; None where it is not here."""
    for move in moves_of(document):
        if (move.image_type, move.tag) == (image_type, tag):
            return move.number
    return None


def with_tag(document: Mapping[str, Any], image_type: str, tag: str, number: int) -> Document:
    """The fields of a document that gets a tag."""
    moves = moves_of(document)
    for index, move in enumerate(moves):
        if (move.image_type, move.tag) == (image_type, tag):
            moves[index] = move._replace(number=max(move.number, number))
            return _fields(moves)
    return _fields([*moves, TagMove(image_type, tag, number)])


def without_tag(document: Mapping[str, Any], image_type: str, tag: str) -> Document:
    """The fields of a document that loses a tag."""
    return _fields(
        move for move in moves_of(document) if (move.image_type, move.tag) != (image_type, tag)
    )


def unchanged(document: Mapping[str, Any]) -> Document:
    """A filter for a document whose tags are still what they were when it was read."""
    return {
        "_id": document["_id"],
        "tag": document.get("tag"),
        "tag_moves": document.get("tag_moves"),
    }


def by_belonging(
    documents: Iterable[Document], image_type: str, tag: str
) -> tuple[Document | None, list[Document]]:
    """The one to which a tag belongs, and the others on which it is; None where it is on none."""
    carriers = [
        (number, document.get("last_pull") or 0.0, str(document["_id"]), document)
        for document in documents
        if (number := number_of(document, image_type, tag)) is not None
    ]
    carriers.sort(key=lambda carrier: carrier[:3])
    if not carriers:
        return None, []
    *others, owner = (document for *_, document in carriers)
    return owner, others


def _fields(moves: Iterable[TagMove]) -> Document:
    kept = list(moves)
    return {
        "tag": list(dict.fromkeys(move.tag for move in kept)),
        "tag_moves": [
            {"itype": move.image_type, "tag": move.tag, "number": move.number} for move in kept
        ],
    }
