# SPDX-License-Identifier: BSD-3-Clause
"""Have the kernel read an image file before anybody waits for it, where the site wants that.

On a shared filesystem each read takes long, and a program that starts asks for one after the other.
Many at once take hardly longer than one.
"""

from __future__ import annotations

import os

_PIECE = 1 << 17  # bytes; of a larger one the kernel reads no more than it would on its own
_TAIL = 4 << 20  # bytes at the end, where squashfs has its directories and inodes: needed first
_MOST_DESCRIPTORS = 1 << 20


def begin(image: int, limit: int) -> None:
    """Start to read at most `limit` bytes of the file that `image` is open on; nobody waits.

    A process of its own does it, because the kernel takes no more than a few pieces at once. It is
    nobody's child, so that the user's program finds none that it has not made.
    """
    try:
        child = os.fork()
    except OSError:
        return  # a launch is only slower without
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            os.setsid()  # the user's terminal must not stop it, with all that it holds
            # Whoever reads what the launch writes must not wait for this.
            os.closerange(0, image)
            os.closerange(image + 1, _MOST_DESCRIPTORS)
            _read(image, limit)
    finally:
        os._exit(0)


def _read(image: int, limit: int) -> None:
    size = os.fstat(image).st_size
    tail = max(0, size - min(_TAIL, limit))
    for start in (*range(tail, size, _PIECE), *range(0, min(tail, limit), _PIECE)):
        os.posix_fadvise(image, start, _PIECE, os.POSIX_FADV_WILLNEED)
