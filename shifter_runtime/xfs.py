# SPDX-License-Identifier: BSD-3-Clause
"""Empty XFS filesystems: made once per size and node by mkfs.xfs, then copied.

mkfs.xfs never sees a file that a user may reach. Root runs it on memory; what it writes that is not
zero, about 180 KiB, is kept as a sparse file where only root comes, and copied to the file behind
each perNodeCache. A copy takes a fraction of what mkfs.xfs does there: on a shared filesystem the
64 MiB of zeros alone that it writes for the log would cost more than all else.
"""

from __future__ import annotations

import errno
import os
import stat

from shifter_runtime import syscalls, trust
from shifter_runtime.errors import SetupError, VolumeError

SMALLEST = 300 << 20  # mkfs.xfs makes none below
LARGEST = 1 << 50  # each further TiB costs 36 KiB here: beyond, a user could fill memory
BLOCK = 4096

_TEMPLATES = "/run/shifter/cache-templates"
_MOST_TEMPLATES = 16
_MOST_LEFT_OUT = 32 << 20  # bytes
_LARGEST_KEPT = 16 << 40  # of a larger filesystem, the template would fill /run
_LOCK = "lock"
_PAUSE = 5000  # microseconds between two looks for what somebody else is making
_PATIENCE = 1000  # looks
_PIECE = 1 << 20
_ZEROS = bytes(BLOCK)
_ZERO_PIECE = bytes(_PIECE)
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
# A change to these needs another mark, with which the names of templates begin.
_MARK = "xfs1"
_OPTIONS = (
    # Nothing smaller than a page is then ever written to a filesystem that is far away.
    *("-s", "size=4096"),
    # Larger ones would only cost time and memory here, up to 2 GiB.
    *("-l", "size=64m"),
)


def open_empty(size: int, program: str) -> int:
    """A sparse file of `size` bytes that holds an empty filesystem: reading of it is copying it.

    `size` is a multiple of BLOCK from SMALLEST to LARGEST; `program` is mkfs.xfs.
    """
    mkfs = _open_program(program)
    try:
        name = _name(size, mkfs)
        directory = _open_templates()
        try:
            return _find(directory, name, size) or _make_once(directory, name, size, mkfs)
        finally:
            os.close(directory)
    finally:
        os.close(mkfs)


def copy(source: int, target: int) -> None:
    """Write what `source` holds to the same places of `target`, a file of holes; no zeros."""
    place = _next_data(source, 0)
    while place is not None:
        end = os.lseek(source, place, os.SEEK_HOLE)
        while place < end:
            piece = os.pread(source, min(_PIECE, end - place), place)
            if piece != _ZERO_PIECE[: len(piece)]:
                _write_blocks(target, piece, place)
            place += len(piece)
        place = _next_data(source, end)


def _next_data(file: int, place: int) -> int | None:
    try:
        return os.lseek(file, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _write_blocks(target: int, piece: bytes, place: int) -> None:
    """Write the blocks of `piece` that are not zero, neighbours at once."""
    start: int | None = None
    for end in range(0, len(piece) + BLOCK, BLOCK):
        if piece[end : end + BLOCK] not in (_ZEROS, b""):
            start = end if start is None else start
        elif start is not None:
            _write(target, piece[start:end], place + start)
            start = None


def _write(target: int, content: bytes, place: int) -> None:
    while content:
        written = os.pwrite(target, content, place)
        content = content[written:]
        place += written


def _open_program(program: str) -> int:
    fd = trust.open_untouchable(program)
    if not os.fstat(fd).st_mode & stat.S_IXUSR:
        os.close(fd)
        raise SetupError(f"mkfsXfsPath {program} is not executable: ask the administrator")
    return fd


def _name(size: int, mkfs: int) -> str:
    """What the template is called: another mkfs.xfs makes another."""
    found = os.fstat(mkfs)
    return f"{_MARK}-{size}-{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"


def _open_templates() -> int:
    try:
        os.makedirs(_TEMPLATES, 0o700, exist_ok=True)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(_TEMPLATES, flags)
    except OSError as error:
        raise SetupError(f"cannot open {_TEMPLATES}: {error.strerror}") from error


def _find(directory: int, name: str, size: int) -> int | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    if _is_filesystem(fd, size):
        return fd
    os.close(fd)
    return None


def _is_filesystem(fd: int, size: int) -> bool:
    """Whether a file is as long as the filesystem that its superblock tells of, or hardly longer.

    mkfs.xfs leaves out a block of each TiB, and what is too little for a last allocation group.
    """
    head = os.pread(fd, 16, 0)
    block_size, blocks = (int.from_bytes(part, "big") for part in (head[4:8], head[8:16]))
    left_out = size - block_size * blocks
    return head[:4] == b"XFSB" and 0 <= left_out < _MOST_LEFT_OUT and os.fstat(fd).st_size == size


def _make_once(directory: int, name: str, size: int, mkfs: int) -> int:
    """Let one launch make the template while others wait, but for none longer than some seconds.

    One that its user froze while it had the lock must not keep others from their caches.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(_LOCK, flags, 0o600, dir_fd=directory)
    try:
        for _ in range(_PATIENCE):
            if syscalls.try_to_lock(lock, _LOCK):
                break
            syscalls.sleep(_PAUSE)
        return _find(directory, name, size) or _make(directory, name, size, mkfs)
    finally:
        os.close(lock)


def _make(directory: int, name: str, size: int, mkfs: int) -> int:
    memory = os.memfd_create("xfs")
    try:
        os.ftruncate(memory, size)
        _run(mkfs, memory, size)
        template = _keep(directory, name, memory) if size <= _LARGEST_KEPT else None
    except BaseException:
        os.close(memory)
        raise
    if template is None:
        return memory
    os.close(memory)
    return template


def _keep(directory: int, name: str, memory: int) -> int | None:
    """Put a copy where the next launch finds it, whole; None where that cannot be done."""
    try:
        fd = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError:
        return None
    try:
        os.ftruncate(fd, os.fstat(memory).st_size)
        copy(memory, fd)
        os.fsync(fd)
        _remove(directory, name)  # one that was no filesystem
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory, follow_symlinks=True)
        _remove_oldest(directory)
    except OSError:
        os.close(fd)
        return None
    return fd


def _remove(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return


def _remove_oldest(directory: int) -> None:
    """Keep few: every size that a user thinks of makes one."""
    with os.scandir(directory) as entries:
        ages = sorted(
            (entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.name != _LOCK
        )
    for _, name in ages[:-_MOST_TEMPLATES]:
        _remove(directory, name)


def _run(mkfs: int, memory: int, size: int) -> None:
    complaints = os.memfd_create("complaints")
    child = os.fork()
    if child == 0:
        try:
            _become_mkfs(mkfs, memory, complaints)
        except OSError as error:
            os.write(complaints, os.fsencode(str(error.strerror)))
        finally:
            os._exit(126)
    _, status = os.waitpid(child, 0)
    complaint = os.pread(complaints, 4096, 0).decode("utf-8", "replace").strip()
    os.close(complaints)
    code = os.waitstatus_to_exitcode(status)
    if code != 0 or not _is_filesystem(memory, size):
        how = f"was ended by signal {-code}" if code < 0 else f"failed with status {code}"
        reason = complaint.partition("\n")[0] or "it gave no reason"
        raise VolumeError(
            f"cannot make an XFS filesystem of {size} bytes: mkfs.xfs {how}: {reason}"
        )


def _become_mkfs(mkfs: int, memory: int, complaints: int) -> None:
    os.chdir("/")
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(complaints, 2)
    os.set_inheritable(memory, True)
    os.set_inheritable(mkfs, True)  # it may be a script of the site's
    arguments = ["mkfs.xfs", "-q", *_OPTIONS, f"/proc/self/fd/{memory}"]
    os.execve(mkfs, arguments, _ENVIRONMENT)
