# SPDX-License-Identifier: BSD-3-Clause
"""What is told of one image when somebody inspects it, and not with each record of it.

An image's config may hold anything, as much of it as its maker likes: what is kept here is bounded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

MOST_LAYERS_SHOWN = 128  # of a pull on its way; Docker makes no more

_MOST_LAYERS = 1024
_MOST_STEPS = 300
_LONGEST_WORD = 128  # characters: a time, a media type
_LONGEST_TEXT = 1024


@dataclasses.dataclass(frozen=True)
class LayerProgress:
    """How much of one layer is here."""

    digest: str
    size: int  # bytes
    done: int

    def to_wire(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer, as the manifest describes it."""

    digest: str
    size: int  # bytes
    media_type: str


@dataclasses.dataclass(frozen=True)
class BuildStep:
    """One step of an image's build; texts may be cut."""

    created: str
    created_by: str
    comment: str
    empty_layer: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDetails:
    """Where an image comes from; None where that is not known."""

    created: str | None = None
    author: str | None = None
    user: str | None = None  # whom other engines run its program as
    layers: tuple[Layer, ...] | None = None
    history: tuple[BuildStep, ...] | None = None
    is_cut: bool = False  # there was more than is kept
    first_pull: float | None = None  # seconds since the epoch

    @classmethod
    def bounded(
        cls,
        *,
        created: str | None,
        author: str | None,
        user: str | None = None,
        layers: Iterable[Layer] | None,
        history: Iterable[BuildStep],
    ) -> ImageDetails:
        """As much of an image's own words as is worth keeping."""
        scissors = _Scissors()
        steps = [
            BuildStep(
                scissors.cut(step.created, _LONGEST_WORD),
                scissors.cut(step.created_by, _LONGEST_TEXT),
                scissors.cut(step.comment, _LONGEST_TEXT),
                step.empty_layer,
            )
            for step in scissors.first(history, _MOST_STEPS)
        ]
        known = None
        if layers is not None:
            known = tuple(
                dataclasses.replace(layer, media_type=scissors.cut(layer.media_type, _LONGEST_WORD))
                for layer in scissors.first(layers, _MOST_LAYERS)
            )
        return cls(
            created=scissors.cut(created, _LONGEST_WORD) if created else None,
            author=scissors.cut(author, _LONGEST_TEXT) if author else None,
            user=scissors.whole(user, _LONGEST_WORD) if user else None,
            layers=known,
            history=tuple(steps) or None,
            is_cut=scissors.were_used,
        )

    def to_text(self) -> str:
        """JSON of ASCII characters: whatever an image says, any database holds it."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> ImageDetails:
        """What `to_text` has made; fields that a later release adds are left out."""
        content = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        known = {name: value for name, value in content.items() if name in names}
        return cls(
            **known
            | {
                "layers": _made(Layer, known.get("layers")),
                "history": _made(BuildStep, known.get("history")),
            }
        )

    def to_wire(self) -> dict[str, Any]:
        content = dataclasses.asdict(self)
        content["truncated"] = content.pop("is_cut")
        for name in ("layers", "history"):
            content[name] = None if content[name] is None else list(content[name])
        return content


class _Scissors:
    def __init__(self) -> None:
        self.were_used = False

    def cut(self, text: str, longest: int) -> str:
        if len(text) <= longest:
            return text
        self.were_used = True
        return text[: longest - 1] + "…"

    def whole(self, text: str, longest: int) -> str | None:
        """A text of which a part would mean something else."""
        return text if self.cut(text, longest) == text else None

    def first(self, items: Iterable[Any], most: int) -> list[Any]:
        found = list(items)
        self.were_used |= len(found) > most
        return found[:most]


def _made(kind: type[Any], values: list[dict[str, Any]] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(kind(**value) for value in values)
