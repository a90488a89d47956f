# SPDX-License-Identifier: BSD-3-Clause
"""Images on a filesystem that the gateway itself mounts.

A `.meta` file promises that the whole image lies beside it. So the image is renamed into place
before its `.meta`, and on removal the `.meta` goes first: at no moment, and after no crash, does
a runtime that reads `.meta` first find half an image. What is being written has a hidden name in
the same directory, because only a rename within one filesystem is atomic.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from shifter_imagegw import formats
from shifter_imagegw.delivery import IndexEntry, Partial, StoredImage, files, names, tag_index
from shifter_imagegw.delivery.staging import Staging
from shifter_imagegw.errors import DeliveryError

_REMOVED = "removed"  # instead of a worker's name: nobody's, so that the next sweep takes it


class LocalFile:
    """The file of an image on a filesystem of this host."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        found = os.fstat(file.fileno())
        self.size = found.st_size
        self.changed = found.st_mtime_ns

    def begin_at(self, first: int) -> None:
        self._file.seek(first)

    def read(self, most: int) -> bytes:
        try:
            return self._file.read(most)
        except OSError as error:
            raise DeliveryError(f"cannot read an image: {error.strerror}") from error

    def close(self) -> None:
        self._file.close()


class LocalDelivery:
    """The image directory (`imageDir`) of one system."""

    def __init__(self, system: str, directory: Path, *, stripe_count: int = 0) -> None:
        called = f"the image directory of system {system!r}"
        self._directory = directory
        self._files = Staging(directory, called, stripe_count=stripe_count)

    def require_usable(self) -> None:
        self._files.require_usable()

    def staging(
        self, image_id: str, format: str, worker: str
    ) -> contextlib.AbstractContextManager[Path]:
        return self._files.staging(image_id, format, worker)

    def deliver(
        self,
        staged: Path,
        image_id: str,
        format: str,
        worker: str,
        metadata: str,
        confirm: Callable[[], None],
    ) -> int:
        with self._files.explained("write to"):
            size = _finish(staged)
        with self._described(image_id, worker, metadata) as description:
            confirm()
            with self._files.explained("write to"):
                if staged.is_dir():
                    self._put_aside(image_id, format)
                os.rename(staged, self._final(image_id, format))
                # On disk before a .meta vouches for it.
                files.sync(self._directory)
                self._describe(image_id, description)
        return size

    def deliver_metadata(
        self, image_id: str, worker: str, metadata: str, confirm: Callable[[], None]
    ) -> None:
        with self._described(image_id, worker, metadata) as description:
            confirm()
            with self._files.explained("write to"):
                self._describe(image_id, description)

    def read_metadata(self, image_id: str) -> str:
        with self._files.explained("read"):
            return self._final(image_id, "meta").read_text(
                encoding="utf-8", errors="surrogateescape"
            )

    def shut_out_others(self, image_id: str, worker: str) -> None:
        self._files.discard_others(image_id, worker)

    def is_delivered(self, image_id: str, format: str) -> bool:
        image = self._final(image_id, format)
        if not self._final(image_id, "meta").is_file() or not image.exists():
            return False
        with self._files.explained("read"):
            return not formats.is_cut_short(format, image)

    def size(self, image_id: str, format: str) -> int:
        with self._files.explained("read"):
            return files.size_of(self._final(image_id, format))

    def open_image(self, image_id: str, format: str) -> LocalFile:
        with self._files.explained("read an image in"):
            # Without waiting, should it be a pipe.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._final(image_id, format), flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._files.error("holds something that is no image file under its name")
        return LocalFile(os.fdopen(descriptor, "rb", buffering=0))

    def remove(self, image_id: str, format: str, worker: str, confirm: Callable[[], None]) -> None:
        # Nobody can look whether a file may go and remove it in one step, so it loses its name
        # first: who learns only then that it is here to stay can put it back.
        moves = [
            (self._final(image_id, suffix), self._files.partial(image_id, suffix, worker))
            for suffix in ("meta", format)
        ]
        with self._files.explained("remove an image from"):
            try:
                for path, aside in moves:
                    files.remove(aside)
                    files.rename_if_there(path, aside)
                    files.sync(self._directory)
                confirm()
            except BaseException:
                for path, aside in reversed(moves):
                    files.put_back(aside, path)
                raise
            for _, aside in moves:
                files.remove(aside)

    def index(self, image_type: str, tag: str, image_id: str) -> None:
        with self._files.explained("write the tag index in"):
            tag_index.write(self._directory, image_type, tag, image_id)

    def unindex(self, image_type: str, tag: str, image_id: str) -> None:
        with self._files.explained("write the tag index in"):
            tag_index.forget(self._directory, image_type, tag, image_id)

    def indexed(self) -> list[IndexEntry]:
        with self._files.explained("read the tag index in"):
            return tag_index.entries(self._directory)

    def images(self) -> list[StoredImage]:
        with self._files.explained("read"):
            found = {name for name in map(names.image_of, os.listdir(self._directory)) if name}
        described = {image_id for image_id, suffix in found if suffix == "meta"}
        stored = (
            self._stored(image_id, format, image_id in described)
            for image_id, format in sorted(found)
            if format != "meta"
        )
        return [image for image in stored if image is not None]

    def partials(self) -> list[Partial]:
        return self._files.partials()

    def discard(self, partial: Partial) -> None:
        self._files.discard(partial)

    def _stored(self, image_id: str, format: str, has_metadata: bool) -> StoredImage | None:
        path = self._final(image_id, format)
        try:
            found = path.lstat()
            size = files.size_of(path) if stat.S_ISDIR(found.st_mode) else found.st_size
        except FileNotFoundError:  # it is just gone
            return None
        return StoredImage(
            image_id=image_id,
            format=format,
            size=size,
            age=files.age_of(found),
            has_metadata=has_metadata,
        )

    @contextlib.contextmanager
    def _described(self, image_id: str, worker: str, metadata: str) -> Iterator[Path]:
        """What a .meta is to say, on disk under a hidden name while the body runs."""
        partial = self._files.partial(image_id, "meta", worker)
        with self._files.explained("write to"), files.removed_on_failure(partial):
            files.remove(partial)
            files.write(partial, metadata.encode())
        with files.removed_on_failure(partial):
            yield partial

    def _describe(self, image_id: str, description: Path) -> None:
        os.rename(description, self._final(image_id, "meta"))
        files.sync(self._directory)

    def _put_aside(self, image_id: str, format: str) -> None:
        """Take a directory away: none can be renamed over it, and its removal takes long."""
        aside = self._files.partial(image_id, format, _REMOVED)
        files.remove(aside)
        with contextlib.suppress(FileNotFoundError):
            # What still vouches for it must not outlive it.
            self._final(image_id, "meta").unlink(missing_ok=True)
            files.sync(self._directory)
            os.rename(self._final(image_id, format), aside)
        files.remove(aside)

    def _final(self, image_id: str, suffix: str) -> Path:
        return self._directory / names.final(image_id, suffix)


def _finish(staged: Path) -> int:
    """Have a staged image on disk; its size."""
    if staged.is_dir():
        files.sync_tree(staged)
    else:
        os.chmod(staged, files.FILE_MODE)
        files.sync(staged)
    return files.size_of(staged)
