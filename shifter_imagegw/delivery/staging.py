# SPDX-License-Identifier: BSD-3-Clause
"""A directory of this host in which images are made, under hidden names."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from shifter_imagegw.delivery import Partial, files, names
from shifter_imagegw.errors import ConversionError, DeliveryError
from shifter_imagegw.formats import DIRECTORY_FORMATS
from shifter_imagegw.run import run

log = logging.getLogger(__name__)

_NEXT_TO_NOTHING = 1 << 20  # bytes: the largest block that a converter writes at once
_STRIPE_SECONDS = 60.0


class Staging:
    """The directory; `called` says in errors what it is."""

    def __init__(self, directory: Path, called: str, *, stripe_count: int = 0) -> None:
        self.directory = directory
        self._called = called
        self._stripe_count = stripe_count

    def require_usable(self) -> None:
        if not self.directory.is_dir():
            raise self.error("is no directory: create it, owned by the gateway's account")
        if not os.access(self.directory, os.R_OK | os.W_OK | os.X_OK):
            raise self.error("cannot be written by the gateway's account: change its owner")

    @contextlib.contextmanager
    def staging(self, image_id: str, format: str, worker: str) -> Iterator[Path]:
        """A place to make an image in, which is removed in the end; see `Delivery.staging`."""
        self.require_usable()
        path = self.partial(image_id, format, worker)
        with self.explained("write to"):
            files.remove(path)
            descriptor = self._created(path, format)
        try:
            yield path
        except ConversionError as error:
            # A converter says "I/O error" at most. What it has written, though removed, takes up
            # its space as long as the file is open here.
            if _is_full(descriptor):
                raise self.error("is full: free some space, or expire images") from error
            raise
        finally:
            os.close(descriptor)
            files.remove(path)

    def partial(self, image_id: str, suffix: str, worker: str) -> Path:
        return self.directory / names.partial(image_id, suffix, worker)

    def partials(self) -> list[Partial]:
        with self.explained("read"):
            found = os.listdir(self.directory)
        known = (_partial_of(self.directory / name) for name in found)
        return [partial for partial in known if partial is not None]

    def discard(self, partial: Partial) -> None:
        with self.explained("remove what a dead worker left in"):
            files.remove(partial.path)

    def discard_others(self, image_id: str, worker: str) -> None:
        """Discard what others than `worker` have begun of an image."""
        for partial in self.partials():
            if names.is_of(image_id, partial.path.name) and partial.worker != worker:
                with self.explained("remove what another worker has begun in"):
                    _discard_at_once(partial.path)
                log.info("partial file of another worker removed path=%s", partial.path)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Say of an OSError what could not be done."""
        try:
            yield
        except OSError as error:
            raise DeliveryError(
                f"cannot {what} {os.fspath(self.directory)!r}, {self._called}: {error.strerror}"
            ) from error

    def error(self, problem: str) -> DeliveryError:
        return DeliveryError(f"{os.fspath(self.directory)!r}, {self._called}, {problem}")

    def _created(self, path: Path, format: str) -> int:
        if format in DIRECTORY_FORMATS:
            path.mkdir(files.DIRECTORY_MODE)
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if self._stripe_count and self._is_striped(path):
            path.chmod(files.FILE_MODE)
            return os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        return files.create(path)

    def _is_striped(self, path: Path) -> bool:
        """Have Lustre make the file, where there is Lustre: a layout cannot be changed."""
        if shutil.which("lfs") is None:
            return False
        command = ["lfs", "setstripe", "-c", str(self._stripe_count), str(path)]
        try:
            run(command, failing=DeliveryError, timeout=_STRIPE_SECONDS)
        except DeliveryError as error:
            log.warning("image file not striped path=%s reason=%s", path, error)
            path.unlink(missing_ok=True)
            return False
        return path.is_file()


def _discard_at_once(path: Path) -> None:
    """Remove what somebody may still be writing; a directory has lost its name before."""
    if path.is_dir():
        aside = path.with_name(f"{path.name.removesuffix('partial')}{secrets.token_hex(4)}.partial")
        files.rename_if_there(path, aside)
        path = aside
    with contextlib.suppress(DeliveryError):  # what is still written to is left to the sweep
        files.remove(path)


def _partial_of(path: Path) -> Partial | None:
    """What is known of a partial file; None for any other, and for one that is just gone."""
    worker = names.worker_of(path.name)
    if worker is None:
        return None
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return Partial(path=path, worker=worker, age=files.age_of(found))


def _is_full(descriptor: int) -> bool:
    filesystem = os.fstatvfs(descriptor)
    return filesystem.f_bavail * filesystem.f_frsize < _NEXT_TO_NOTHING
