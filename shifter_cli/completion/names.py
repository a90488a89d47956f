# SPDX-License-Identifier: BSD-3-Clause
"""Names of images and modules, as far as they are known without keeping anybody waiting."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time

import click
from click.shell_completion import CompletionItem

from shifter_cli.session import Session
from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import IMAGE_TYPES, ImageReference

_FRESH = 60.0  # seconds that the gateway is not asked again
_PATIENCE = 2.0  # seconds for its answer
_LARGEST_FILE = 1 << 24


def complete_image(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """For arguments of click's."""
    return of_images(ctx.ensure_object(Session), incomplete)


def of_images(session: Session, word: str) -> list[CompletionItem[str]]:
    """Images that begin as `word` does; without a type, those of the site's default type."""
    default = session.config.default_image_type
    typed, colon, _ = word.partition(":")
    with_type = bool(colon) and typed in IMAGE_TYPES
    found = []
    for name in _images(session):
        kind, _, tag = name.partition(":")
        shown = name if with_type or kind != default else tag
        if shown.startswith(word):
            found.append(CompletionItem(shown))
    return found


def of_modules(session: Session, word: str) -> list[CompletionItem[str]]:
    """Modules of the site; of several with commas, the last is being typed."""
    before, comma, last = word.rpartition(",")
    chosen = before.split(",")
    offered = [
        name for name, values in session.config.modules.items() if values.get("enabled") != ["0"]
    ]
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in sorted([*offered, *([] if comma else ["none"])])
        if name.startswith(last) and name not in chosen
    ]


def _images(session: Session) -> list[str]:
    """`type:tag` of every image, as the gateway knew them a short while ago."""
    path = _cache_path(session.config.system)
    if path is not None and (kept := _read(path)) is not None:
        return kept
    session.patience = _PATIENCE
    names = sorted(
        {
            f"{one.image_type}:{tag}"
            for one in session.gateway.images()
            for tag in one.tags
            if _is_name(one.image_type, tag)
        }
    )
    if path is not None:
        _write(path, names)
    return names


def _is_name(image_type: str, tag: str) -> bool:
    """Whether an image may be called so: bash would run what else stands in the line."""
    try:
        ImageReference.checked(image_type, tag)
    except InvalidReferenceError:
        return False
    return True


def _cache_path(system: str) -> str | None:
    """A file in a directory of the user's own."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for directory in (runtime, home):
        try:
            found = os.stat(directory)
        except OSError:
            continue
        if directory.startswith("/") and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return os.path.join(directory, f"shifter-images-{system.replace('/', '_')}.json")
    return None


def _read(path: str) -> list[str] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as file:
            status = os.fstat(descriptor)
            is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
            if not is_ours or not 0 <= time.time() - status.st_mtime < _FRESH:
                return None
            names = json.loads(file.read(_LARGEST_FILE))
    except (OSError, ValueError):
        return None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else None


def _write(path: str, names: list[str]) -> None:
    """Replace the file whole: another shell may be reading it."""
    partial = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(names, file)
        os.replace(partial, path)
