# SPDX-License-Identifier: BSD-3-Clause
"""A module on disk: a directory that only its owner, root, may change."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from shifter_cli.modules import elf
from shifter_cli.modules.content import Content
from shifter_cli.modules.errors import NotALibraryError, PrepareError
from shifter_cli.modules.root_tree import RootTree

_LONGEST_TEXT = 1 << 20  # bytes


def write(content: Content, node: RootTree, into: Path, *, replace: bool) -> Path:
    """Make the directory `into`/NAME, whole or not at all.

    What was there before is kept beside it, because containers that run may use its files: as
    .NAME.old, until the next time.
    """
    target = into / content.name
    if target.exists() and not replace:
        raise PrepareError(f"{target} is there already: --replace makes it anew")
    try:
        into.mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(prefix=f".{content.name}.", dir=into) as directory:
            made = Path(directory) / content.name
            _fill(made, content, node)
            if target.exists():
                old = into / f".{content.name}.old"
                shutil.rmtree(old, ignore_errors=True)
                target.rename(old)
            made.rename(target)
    except OSError as error:
        raise PrepareError(f"cannot write {target}: {error.strerror}") from error
    return target


def doubts(directory: Path) -> list[str]:
    """Why the runtime will refuse the directory as copyPath."""
    found = []
    for place in (directory, *directory.resolve().parents):
        status = os.stat(place)
        sticky = status.st_mode & stat.S_ISVTX
        if status.st_uid != 0:
            found.append(f"{place} belongs to user {status.st_uid}, not to root")
        elif status.st_mode & 0o022 and not (sticky and place != directory):
            found.append(f"{place} is writable by others than root")
    return found


def _fill(made: Path, content: Content, node: RootTree) -> None:
    # Made by one process for all users: its umask must not decide who can read it.
    made.mkdir(mode=0o755)
    for path, source in content.files.items():
        _make_directory(made, Path(path).parent)
        _copy(node, source, made / path)
    for path, target in content.links.items():
        _make_directory(made, Path(path).parent)
        (made / path).symlink_to(target)
    made.chmod(0o755)


def _make_directory(made: Path, path: Path) -> None:
    for directory in reversed((path, *path.parents)):
        (made / directory).mkdir(exist_ok=True)
        (made / directory).chmod(0o755)


def _copy(node: RootTree, source: str, target: Path) -> None:
    """Copy what is a library, a program or a short text, and never what else the name leads to."""
    file = node.open(source)
    if file is None:
        raise PrepareError(f"cannot read {source}")
    with file, target.open("xb") as copy:
        try:
            elf.read(file, source)
        except NotALibraryError:
            if os.fstat(file.fileno()).st_size > _LONGEST_TEXT:
                raise
        file.seek(0)
        shutil.copyfileobj(file, copy, 1 << 20)
        executable = os.fstat(file.fileno()).st_mode & 0o111
        os.fchmod(copy.fileno(), 0o755 if executable else 0o644)
