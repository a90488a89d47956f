# SPDX-License-Identifier: BSD-3-Clause
"""The libraries of an image, read by whoever may run it: no other way to open images is needed."""

from __future__ import annotations

import dataclasses
import io
import os
import pwd
import subprocess
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from shifter_cli.modules import elf, ld_cache
from shifter_cli.modules.elf import SharedObject
from shifter_cli.modules.errors import CheckError, NotALibraryError
from shifter_cli.modules.search import standard_directories

_LARGEST = 256 << 20  # bytes of one file of an image
_PATIENCE = 60  # seconds for one launch
_NO_PROGRAM = 127


class Files(Protocol):
    """Something with paths: a directory, or an image."""

    def open(self, path: str) -> BinaryIO | None:
        """The content of a regular file, or None where there is none."""

    def names(self, directory: str) -> list[str]:
        """What is in a directory; nothing where there is none."""


class RunningImage:
    """An image whose files are read by its own `cat` and `ls`, started by `shifter`."""

    def __init__(self, shifter: str, image: str, user: str | None = None) -> None:
        self._command = [shifter, f"--image={image}", "--module=none", "--clearenv"]
        self._image = image
        self._account = _account(user)
        # Says at once what is wrong: no such image, no access, no program to read with.
        self._run(["cat", "/dev/null"], must=True)

    def __str__(self) -> str:
        return self._image

    def open(self, path: str) -> BinaryIO | None:
        content = self._run(["cat", path])
        return None if content is None else io.BytesIO(content)

    def names(self, directory: str) -> list[str]:
        listing = self._run(["ls", f"{directory}/"])
        return [] if listing is None else os.fsdecode(listing).split("\n")[:-1]

    def _run(self, command: Sequence[str], *, must: bool = False) -> bytes | None:
        """What a command in the image writes, or None where it fails."""
        try:
            with subprocess.Popen(
                [*self._command, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, cwd="/", user=self._account.uid, group=self._account.gid,
                extra_groups=self._account.groups,
            ) as process:  # fmt: skip
                try:
                    return self._content_of(process, must=must)
                finally:
                    process.kill()  # nothing happens to one that has ended
        except OSError as error:
            raise CheckError(f"cannot run {self._command[0]}: {error.strerror}") from error

    def _content_of(self, process: subprocess.Popen[bytes], *, must: bool) -> bytes | None:
        assert process.stdout is not None and process.stderr is not None
        content = process.stdout.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise CheckError(f"a library of {self._image} is larger than {_LARGEST >> 20} MiB")
        words = process.stderr.read(10_000).decode("utf-8", "replace").strip()
        status = process.wait(_PATIENCE)
        if status == 0:
            return content
        if must:
            hint = "; unpack it and give its root by --tree" if status == _NO_PROGRAM else ""
            raise CheckError(f"cannot look into {self._image}: {words or f'exit {status}'}{hint}")
        return None


@dataclasses.dataclass(frozen=True)
class _Account:
    """Who a process is to be; None: who this one is."""

    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None


def _account(name: str | None) -> _Account:
    """Who shifter is started as; it runs nothing for root."""
    if os.geteuid() != 0:
        return _Account()
    name = name or os.environ.get("SUDO_USER")
    if not name or name == "root":
        raise CheckError("shifter runs no image for root: say by --user who may use the image")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise CheckError(f"there is no user {name!r} on this node") from None
    groups = os.getgrouplist(name, account.pw_gid)
    return _Account(account.pw_uid, account.pw_gid, groups)


class ImageLibraries:
    """The libraries that the loader of an image finds by name."""

    def __init__(self, files: Files, architecture: tuple[int, str]) -> None:
        self.files = files
        self._architecture = architecture
        self._places: dict[str, list[str]] = {}
        self._known: dict[str, SharedObject | None] = {}
        self._list()

    def find(self, soname: str) -> SharedObject | None:
        """The image's library of that name, for the architecture, or None."""
        if soname not in self._known:
            found = (self._read(path) for path in self._places.get(soname, ()))
            self._known[soname] = next((one for one in found if one), None)
        return self._known[soname]

    def _list(self) -> None:
        cache = self.files.open("/etc/ld.so.cache")
        if cache is not None:
            with cache:
                for name, path in ld_cache.parse(cache.read()):
                    self._places.setdefault(name, []).append(path)
        for directory in standard_directories(self._architecture):
            for name in self.files.names(directory):
                if ".so" in name:
                    self._places.setdefault(name, []).append(f"{directory}/{name}")

    def _read(self, path: str) -> SharedObject | None:
        file = self.files.open(path)
        if file is None:
            return None
        with file:
            try:
                content = elf.read(file, path)
            except NotALibraryError:
                return None
        return content if content.architecture == self._architecture else None
