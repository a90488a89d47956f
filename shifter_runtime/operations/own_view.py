# SPDX-License-Identifier: BSD-3-Clause
"""Open what only the user himself may open: a FUSE filesystem that he has mounted.

The kernel lets nobody into it but processes whose ids are all its owner's, root not excepted; that
a process looks up files with the user's rights is not enough (fuse_allow_current_process).
"""

from __future__ import annotations

import os
import stat

from shifter_runtime import identity, process_calls, syscalls
from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import Identity
from shifter_runtime.udi import Udi

_PATIENCE = 10_000  # milliseconds; neither a launch nor a job's prolog waits longer for a user


def open_path(udi: Udi, path: str, user: Identity) -> tuple[int, bool] | None:
    """A descriptor of `path` in the container, and whether that is a directory; None: he may not.

    A child that is the user opens it, and this process takes the descriptor over. What is on it
    is then mounted as any source; root looks at nothing in there.
    """
    answering, answer = os.pipe()
    waiting, done = os.pipe()
    child = os.fork()
    if child == 0:
        _open_as_user(udi, path, user, (answering, done), answer, waiting)
    os.close(answer)
    os.close(waiting)
    try:
        (answered,) = process_calls.wait_readable((answering,), _PATIENCE)
        if not answered:
            os.kill(child, syscalls.SIGKILL)
            raise VolumeError(
                f"volume source {path!r} is on a filesystem of yours that does not answer: mount "
                "it again, or leave it out"
            )
        words = os.read(answering, 64).split()
        if len(words) != 2:
            return None
        flags = os.O_PATH | os.O_CLOEXEC
        return os.open(f"/proc/{child}/fd/{int(words[0])}", flags), words[1] == b"directory"
    finally:
        os.close(answering)
        os.close(done)
        os.waitpid(child, 0)


def _open_as_user(
    udi: Udi, path: str, user: Identity, unused: tuple[int, int], answer: int, waiting: int
) -> None:
    try:
        for fd in unused:
            os.close(fd)
        identity.become(user)
        found = udi.open(path)
        kind = "directory" if stat.S_ISDIR(os.fstat(found).st_mode) else "other"
        os.write(answer, f"{found} {kind}".encode())
        os.read(waiting, 1)
    finally:
        os._exit(0)
