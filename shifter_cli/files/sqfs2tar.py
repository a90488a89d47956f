# SPDX-License-Identifier: BSD-3-Clause
"""The content of a squashfs file as a tar stream."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

from shifter_common.errors import ShifterError

_PROGRAM = "sqfs2tar"
_PIECE = 1 << 20


class UnpackError(ShifterError):
    """A squashfs file that cannot be read, or no program to read it with."""


def require() -> None:
    """Complain if there is no program to read with."""
    if shutil.which(_PROGRAM) is None:
        raise _cannot_run(os.strerror(errno.ENOENT))


def pieces(path: str) -> Iterator[bytes]:
    """The tar archive, as it is made."""
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                [_PROGRAM, "--", path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        except OSError as error:
            raise _cannot_run(error.strerror) from error
        with process:
            assert process.stdout is not None
            try:
                while piece := process.stdout.read(_PIECE):
                    yield piece
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            complaints.seek(0)
            lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit status {process.returncode}"
            raise UnpackError(f"cannot read the image: {_PROGRAM}: {reason}")


def _cannot_run(reason: str | None) -> UnpackError:
    return UnpackError(
        f"cannot run {_PROGRAM} to make an archive of the image: {reason}; "
        "install the package squashfs-tools-ng, or export the image as squashfs"
    )
