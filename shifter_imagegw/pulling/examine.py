# SPDX-License-Identifier: BSD-3-Clause
"""The site's `examiner` sees each image before anybody may use it, and can refuse it."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from shifter_imagegw import process_names
from shifter_imagegw.errors import PullError
from shifter_imagegw.pulling import image_view
from shifter_imagegw.run import run, watch

log = logging.getLogger(__name__)

_CALLED = "the site's examiner"
_PREFIX = "examined."


def examine(
    image: Path,
    format: str,
    image_id: str,
    *,
    program: Path,
    timeout: timedelta,
    scratch: Path,
    keep_going: Callable[[], None] | None = None,
) -> None:
    """Run `program <directory> <image id>`, where the directory shows the whole image.

    Raises PullError, with what the program said, unless it ends with status 0. Whatever this needs
    is below `scratch`, and gone afterwards; what a worker left there that was killed goes with the
    next examination.
    """
    if not os.access(program, os.X_OK):
        raise PullError(
            f"{_CALLED} {program} cannot be run: tell the administrators of the gateway"
        )
    seconds = timeout.total_seconds()
    with _directory(scratch) as place, image_view.opened(image, format, place, seconds) as view:
        command = [*view.prefix, str(program), str(view.directory), image_id]
        ended = watch(
            command, called=_CALLED, failing=PullError, timeout=seconds, keep_going=keep_going
        )
    if ended.status:
        log.info("image refused by examiner image=%s status=%d", image_id, ended.status)
        how = f"exit status {ended.status}" if ended.status > 0 else f"signal {-ended.status}"
        raise PullError(
            f"{_CALLED} refused this image ({how}): {ended.reason or 'it gave no reason'}"
        )


@contextlib.contextmanager
def _directory(scratch: Path) -> Iterator[Path]:
    """An empty directory below `scratch`, whose name says which worker it belongs to."""
    worker = process_names.worker_name(os.getpid())
    path = scratch / f"{_PREFIX}{secrets.token_hex(4)}.{worker}"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(scratch)
        path.mkdir(0o700)
    except OSError as error:
        raise PullError(
            f"cannot make a directory for the examiner in {scratch}: {error.strerror}"
        ) from error
    try:
        yield path
    finally:
        _remove(path)


def _remove_leftovers(scratch: Path) -> None:
    for name in os.listdir(scratch):
        if not name.startswith(_PREFIX):
            continue
        worker = name.removeprefix(_PREFIX).partition(".")[2]
        if process_names.is_dead(worker):
            _remove(scratch / name)


def _remove(path: Path) -> None:
    """Take what may be a whole unpacked image away; a failure is no reason to fail a pull."""
    try:
        with contextlib.suppress(OSError):
            path.rmdir()
            return
        run(["chmod", "--recursive", "u+rwX", path], failing=PullError)
        run(["rm", "--recursive", "--force", path], failing=PullError)
    except PullError as error:
        log.warning("scratch not removed path=%s reason=%s", path, error)
