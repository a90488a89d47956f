# SPDX-License-Identifier: BSD-3-Clause
"""An image's config: what it was built for and how it wants to be run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from shifter_imagegw.registry.document import Document
from shifter_imagegw.registry.errors import RegistryError
from shifter_imagegw.registry.manifest import text_or_empty
from shifter_imagegw.registry.platforms import Platform


@dataclasses.dataclass(frozen=True)
class HistoryEntry:
    """One step of an image's build."""

    created: str
    created_by: str
    comment: str
    empty_layer: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """None, or an empty tuple, where the image does not say.

    Reads what builders really write: null for absent, one string for a list of one. What has no
    sense at all counts as absent; an image is not refused for its decoration, but for what no
    program can be started with.
    """

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    workdir: str | None = None
    user: str | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created: str | None = None
    author: str | None = None
    history: tuple[HistoryEntry, ...] = ()
    diff_ids: tuple[str, ...] = ()

    @property
    def platform(self) -> Platform | None:
        if not self.os or not self.architecture:
            return None
        return Platform.of(self.os, self.architecture, self.variant)

    @classmethod
    def from_document(cls, document: Document) -> ImageConfig:
        settings = _mapping(document.get("config"))
        history = document.get("history")
        return cls(
            architecture=text_or_empty(document.get("architecture")),
            os=text_or_empty(document.get("os")),
            variant=text_or_empty(document.get("variant")) or None,
            env=_words(settings, "Env") or (),
            entrypoint=_words(settings, "Entrypoint"),
            command=_words(settings, "Cmd"),
            workdir=text_or_empty(settings.get("WorkingDir")) or None,
            user=text_or_empty(settings.get("User")) or None,
            labels={
                key: value
                for key, value in _mapping(settings.get("Labels")).items()
                if isinstance(value, str)
            },
            created=text_or_empty(document.get("created")) or None,
            author=text_or_empty(document.get("author")) or None,
            history=tuple(
                _history_entry(entry)
                for entry in (history if isinstance(history, list) else ())
                if isinstance(entry, dict)
            ),
            diff_ids=_texts(_mapping(document.get("rootfs")).get("diff_ids")) or (),
        )


def _history_entry(document: Document) -> HistoryEntry:
    return HistoryEntry(
        created=text_or_empty(document.get("created")),
        created_by=text_or_empty(document.get("created_by")),
        comment=text_or_empty(document.get("comment")),
        empty_layer=document.get("empty_layer") is True,
    )


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    return value if isinstance(value, dict) else {}


def _words(settings: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    """What a program is given. Raises RegistryError where that is impossible."""
    words = _texts(settings.get(key))
    if any("\0" in word for word in words or ()):
        raise RegistryError(
            f"the image's config is broken: {key} holds a NUL character, which no program can be "
            "given"
        )
    return words


def _texts(value: Any) -> tuple[str, ...] | None:  # noqa: ANN401
    if isinstance(value, str):
        return (value,) if value else None
    if not isinstance(value, list):
        return None
    return tuple(item for item in value if isinstance(item, str)) or None
