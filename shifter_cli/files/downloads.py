# SPDX-License-Identifier: BSD-3-Clause
"""An image's file, fetched from the gateway: taken up again where it broke off."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from typing import IO

from shifter_cli.errors import GatewayRefusalError, GatewayUnreachableError
from shifter_cli.gateway.exchange import Download, cause
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

_MOST_TRIES = 6  # without a byte in between
_PAUSE = 1.0  # seconds after the first of them, and twice as long after each other
_BUSY = 429  # the HTTP status of a gateway that sends as much as it can
_PASSING_STATUS = frozenset({_BUSY, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-")
_WORD = re.compile(r"[\w-]{1,80}", re.ASCII)
_SHORT_ID = 12
_SQUASHFS_MAGIC = b"hsqs"
_BYTES_USED = slice(40, 48)  # of the superblock: how long the filesystem is
_SUPERBLOCK = 96

Open = Callable[[int], Download]  # the bytes from here on


class ExportError(ShifterError):
    """An image's file that could not be fetched, or is not what it should be."""


class Source:
    """The file of one image at the gateway; the first answer tells what it is.

    `watch` is told how much has come, and of how much.
    """

    def __init__(
        self,
        reference: ImageReference,
        open_at: Open,
        watch: Callable[[int, int], None] = lambda done, size: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.reference = reference
        self._open_at = open_at
        self._watch = watch
        self._sleep = sleep
        self._opened: Download | None = self._first()
        self.version = _version(self._opened)
        self.format = self._opened.header("X-Shifter-Format") or "squashfs"
        self.size = self._size(self._opened)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """All bytes from `start` on, over as many connections as it takes."""
        done, tries = start, 0
        self._watch(done, self.size)
        while done < self.size:
            problem: ShifterError | None = None
            words = "the answer broke off"
            try:
                for piece in self._from(done):
                    done, tries = done + len(piece), 0
                    if done > self.size:
                        break
                    self._watch(done, self.size)
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                words = cause(error)
            except (GatewayRefusalError, GatewayUnreachableError) as error:
                if not _is_passing(error):
                    raise
                problem = error
            self.close()
            tries += 1
            if done < self.size and tries >= _MOST_TRIES:
                raise problem or ExportError(
                    f"cannot export {self.reference}: {words} at {done} of {self.size} bytes; "
                    "the same command goes on from there"
                )
            if done < self.size:
                self._sleep(_PAUSE * 2 ** (tries - 1))
        if done > self.size:
            raise ExportError(
                f"cannot export {self.reference}: the gateway sent {done} bytes, not {self.size}"
            )

    def _first(self) -> Download:
        """The first answer; a gateway that is busy is asked for it again."""
        for tries in range(_MOST_TRIES - 1):
            try:
                return self._open_at(0)
            except GatewayRefusalError as error:
                if error.status != _BUSY:
                    raise
            self._sleep(_PAUSE * 2**tries)
        return self._open_at(0)

    def _from(self, start: int) -> Iterator[bytes]:
        """What one connection gives."""
        if self._opened is None or start:
            self.close()
            self._opened = self._open_at(start)
        if _version(self._opened) != self.version:
            raise ExportError(f"cannot export {self.reference}: it is another image now")
        began = _RANGE.match(self._opened.header("Content-Range"))
        skip = start - (int(began[1]) if began else 0)  # what lies between may give all of it
        for piece in self._opened.pieces():
            rest = piece[skip:]
            skip = max(skip - len(piece), 0)
            if rest:
                yield rest

    def _size(self, opened: Download) -> int:
        length = opened.header("Content-Length")
        if not (length.isascii() and length.isdigit()):
            raise ExportError(
                f"cannot export {self.reference}: the gateway does not say how large it is"
            )
        return int(length)


def _is_passing(error: ShifterError) -> bool:
    """Whether a gateway is restarted, or busy, and will go on."""
    return not isinstance(error, GatewayRefusalError) or error.status in _PASSING_STATUS


def _version(opened: Download) -> str:
    """Another one where the bytes may be others."""
    tag = opened.header("ETag").strip('"')
    if _WORD.fullmatch(tag):
        return tag
    # It is going to be part of a file's name.
    return re.sub(r"\W", "_", opened.header("X-Shifter-Id")[:_SHORT_ID], flags=re.ASCII)


@contextlib.contextmanager
def partial_file(target: str, source: Source) -> Iterator[IO[bytes]]:
    """The file beside `target` that holds what has come of this very image, at its end.

    It stays when the body fails, for the next try.
    """
    folder, name = os.path.split(os.path.abspath(target))
    path = os.path.join(folder, f".{name}.{source.version}.partial")
    try:
        opened = _opened(path)
    except OSError as error:
        raise ExportError(f"cannot export to {target!r}: {error.strerror}") from error
    with opened as partial:
        try:
            fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(
                f"cannot export to {target!r}: another export to it is under way"
            ) from error
        if partial.seek(0, os.SEEK_END) > source.size:
            partial.truncate(0)
            partial.seek(0)
        _forget_others(folder, name, path)
        try:
            yield partial
        except OSError as error:
            raise ExportError(
                f"cannot export to {target!r}: {error.strerror}; what has come is kept, and the "
                "same command goes on from there"
            ) from error


def _opened(path: str) -> IO[bytes]:
    """A new file, or one that an earlier try has left.

    Others may make files in the folder, too: of theirs nothing is taken for the image's beginning,
    and no link or pipe is written to.
    """
    try:
        return _open(path, os.O_EXCL)
    except FileExistsError:
        opened = _open(path)
    status = os.fstat(opened.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
        opened.close()
        raise PermissionError(
            errno.EPERM,
            f"{path} is there, and not yours: have it removed, or choose another folder",
        )
    return opened


def _open(path: str, more_flags: int = 0) -> IO[bytes]:
    careful = more_flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return open(path, "ab+", opener=lambda path, flags: os.open(path, flags | careful, 0o666))


def _forget_others(folder: str, name: str, path: str) -> None:
    """Remove what tries have left that were for other bytes, and that nobody goes on with."""
    of_target = re.compile(rf"\.{re.escape(name)}\.[\w-]+\.partial", re.ASCII)
    for found in filter(of_target.fullmatch, os.listdir(folder)):
        other = os.path.join(folder, found)
        with contextlib.suppress(OSError):
            if other != path:
                with _opened(other) as opened:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(other)


def fetch(source: Source, partial: IO[bytes], target: str) -> None:
    """Complete a partial file, and check that it is what it should be."""
    for piece in source.pieces(partial.tell()):
        partial.write(piece)
    partial.flush()
    os.fsync(partial.fileno())
    if source.format == "squashfs" and not _is_whole_squashfs(partial):
        partial.truncate(0)
        raise ExportError(
            f"cannot export to {target!r}: what came is no whole squashfs file; export it again"
        )


def _is_whole_squashfs(file: IO[bytes]) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    superblock = file.read(_SUPERBLOCK)
    file.seek(0, os.SEEK_END)
    is_squashfs = superblock.startswith(_SQUASHFS_MAGIC)
    return is_squashfs and int.from_bytes(superblock[_BYTES_USED], "little") <= size
