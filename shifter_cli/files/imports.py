# SPDX-License-Identifier: BSD-3-Clause
"""The file or directory that an image is to be made of, as the gateway is told of it."""

from __future__ import annotations

import os

from shifter_common.errors import ShifterError

AUTO = "auto"
FORMATS = (AUTO, "squashfs", "docker-archive", "oci-archive", "oci", "directory")


class ImportFileError(ShifterError):
    """What cannot be imported, as far as one can see from here."""


def path_of(typed: str) -> str:
    """The absolute path of what was typed, which must be there and readable.

    The gateway opens the path again, on its own host and as the user.
    """
    path = os.path.realpath(typed) if ".." in typed.split("/") else os.path.abspath(typed)
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds a NUL character"
        raise ImportFileError(f"cannot import {typed!r}: {reason}") from error
    wanted = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK
    if not os.access(path, wanted):
        raise ImportFileError(f"cannot import {typed!r}: you may not read it")
    if not path.isprintable():
        raise ImportFileError(f"cannot import {typed!r}: rename it, it holds control characters")
    return path
