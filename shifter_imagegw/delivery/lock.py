# SPDX-License-Identifier: BSD-3-Clause
"""One worker of this host at a time changes an image on a system.

Two tags may name one image: without this, two pulls would convert it twice, and a removal could
take away what a pull has just found to be there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from shifter_imagegw.errors import DeliveryError

_LOOK_EVERY = 0.1  # seconds


@contextlib.contextmanager
def held(
    directory: Path, system: str, image_id: str, keep_waiting: Callable[[], None]
) -> Iterator[None]:
    """Hold the lock of an image; `keep_waiting` is called while another has it, and may raise.

    The lock is a file in `directory`, on the gateway's own disk, and ends with the process. The
    file stays: removing it would let two processes hold two locks of one name.
    """
    path = directory / f"{quote(system, safe='')}.{image_id}.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeliveryError(f"cannot lock the image with {path}: {error.strerror}") from error
    try:
        while not _taken(descriptor):
            keep_waiting()
            time.sleep(_LOOK_EVERY)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
