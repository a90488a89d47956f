# SPDX-License-Identifier: BSD-3-Clause
"""The kernel calls that Python's `os` lacks, one function each; none decides anything.

Every failure is an OSError whose file name is the object, so that whoever catches it can say what
failed. Numbers and structures: the kernel's uapi headers, which share these call numbers on every
architecture. See mount_setattr(2), open_tree(2), move_mount(2), fsopen(2), openat2(2), loop(4).

Only the C half of `ctypes` is imported: its Python half would cost every launch 2 ms.
"""

from __future__ import annotations

import _ctypes
import os
import sys

TYPE_CHECKING = False

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 0x20
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_MOVE = 0x2000
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
_MOUNT_ATTR_IDMAP = 0x100000

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

LOOP_SET_AUTOCLEAR = 4  # LO_FLAGS_AUTOCLEAR
LOOP_READ_ONLY = 1  # LO_FLAGS_READ_ONLY
LOOP_DIRECT_IO = 16  # LO_FLAGS_DIRECT_IO
LOOP_CONFIGURE = 0x4C0A
LOOP_GET_STATUS64 = 0x4C05
LOOP_CTL_GET_FREE = 0x4C82

NS_GET_MNTNS_ID = 0x8008B705

LOCK_EX = 2
LOCK_NB = 4
_F_OFD_SETLK = 37
_F_WRLCK = 1

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

SIGHUP = 1
SIGINT = 2
SIGKILL = 9
SIGPIPE = 13
SIGTERM = 15
SIGCHLD = 17
SIGXFSZ = 25
_LAST_SIGNAL = 64
_SIG_UNBLOCK = 1
_SIG_SETMASK = 2
_SIGNAL_SET = 128  # bytes of glibc's sigset_t, more than the kernel's

_POLLIN = 1
_POLLFD = 8  # bytes of struct pollfd

_RLIMITS = (0, 1, 2, 9)  # of processor time, file size, data and address space
_RLIM_INFINITY = 2**64 - 1

_PIDFD_SEND_SIGNAL = 424
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_OPENAT2 = 437
_MOUNT_SETATTR = 442

_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Character(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


if TYPE_CHECKING:

    class _Buffer:
        raw: bytes
else:

    class _Buffer(_ctypes.Array):
        _type_ = _Character
        _length_ = 512  # more than any structure that a call here fills in


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    # As the C functions say: read as a long, the int -1 may look like a large positive number.
    _restype_ = _Int


_libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]


def _function(name: str, *types: type) -> _Function:
    function = _Function(_ctypes.dlsym(_libc, name))
    function.argtypes = types
    return function


def _call(*types: type) -> _Function:
    function = _function("syscall", _Long, *types)
    function.restype = _Long
    return function


_open_tree = _call(_Long, _Text, _Long)
_move_mount = _call(_Long, _Text, _Long, _Text, _Long)
_fsopen = _call(_Text, _Long)
_fsconfig = _call(_Long, _Long, _Text, _Text, _Long)
_fsmount = _call(_Long, _Long, _Long)
_openat2 = _call(_Long, _Text, _Text, _Long)
_mount_setattr = _call(_Long, _Text, _Long, _Text, _Long)
_pidfd_send_signal = _call(_Long, _Long, _Long, _Long)
_unshare = _function("unshare", _Long)
_setns = _function("setns", _Long, _Long)
_mount = _function("mount", _Text, _Text, _Text, _Long, _Text)
_umount2 = _function("umount2", _Text, _Long)
_pivot_root = _function("pivot_root", _Text, _Text)
_ioctl_number = _function("ioctl", _Long, _Long, _Long)
_ioctl_buffer = _function("ioctl", _Long, _Long, _Buffer)
_fstatfs = _function("fstatfs", _Long, _Buffer)
_flock = _function("flock", _Long, _Long)
_fcntl_text = _function("fcntl", _Long, _Long, _Text)
_usleep = _function("usleep", _Long)
_poll = _function("poll", _Buffer, _Long, _Int)
_prlimit = _function("prlimit64", _Long, _Long, _Text, _Text)
_sigprocmask = _function("sigprocmask", _Long, _Text, _Text)
_prctl = _function("prctl", _Long, _Long, _Long, _Long, _Long)
_capset = _function("capset", _Text, _Text)
_signal = _function("signal", _Int, _Long)


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = _ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def _u64(*numbers: int) -> bytes:
    return b"".join([number.to_bytes(8, sys.byteorder) for number in numbers])


def unshare_mounts() -> None:
    """Give this process a mount namespace of its own: unshare(2)."""
    _checked(_unshare(CLONE_NEWNS), "mount namespace")


def unshare_users() -> None:
    """Put this process into a user namespace of its own, which maps no ids yet: unshare(2)."""
    _checked(_unshare(CLONE_NEWUSER), "user namespace")


def enter_mounts(namespace: int) -> None:
    """Move this process into the mount namespace that a descriptor is open on: setns(2)."""
    _checked(_setns(namespace, CLONE_NEWNS), "mount namespace")


def change_propagation(path: str, flags: int) -> None:
    """Set the propagation of what is mounted at `path` to MS_SLAVE or MS_PRIVATE, | MS_REC."""
    _checked(_mount(None, os.fsencode(path), None, flags, None), path)


def remount_read_only(path: str) -> None:
    """Let nobody write to the filesystem at `path`, by whichever mount of it: mount(2)."""
    flags = MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV
    _checked(_mount(None, os.fsencode(path), None, flags, None), path)


def open_in(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): open `path` below the descriptor `directory` under the RESOLVE_ rules given."""
    how = _u64(flags | os.O_CLOEXEC, mode, resolve)
    return _checked(_openat2(_OPENAT2, directory, os.fsencode(path), how, len(how)), path)


def clone_tree(source: int, *, recursive: bool, name: str) -> int:
    """A detached copy of the mount at the descriptor `source`: open_tree(2)."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | AT_EMPTY_PATH
    if recursive:
        flags |= AT_RECURSIVE
    return _checked(_open_tree(_OPEN_TREE, source, b"", flags), name)


def attach(mount: int, target: int, name: str) -> None:
    """Attach a detached mount on the object that `target` is open on: move_mount(2)."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _checked(_move_mount(_MOVE_MOUNT, mount, b"", target, b"", flags), name)


def set_attributes(
    mount: int,
    attributes: int,
    *,
    recursive: bool,
    propagation: int = 0,
    clear: int = 0,
    name: str,
) -> None:
    """Add and clear MOUNT_ATTR_ restrictions, and set the propagation: mount_setattr(2)."""
    how = _u64(attributes, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _checked(_mount_setattr(_MOUNT_SETATTR, mount, b"", flags, how, len(how)), name)


def map_owners(mount: int, namespace: int, name: str) -> None:
    """Show files of a detached mount as owned by whom a user namespace maps their owners to."""
    how = _u64(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
    _checked(_mount_setattr(_MOUNT_SETATTR, mount, b"", AT_EMPTY_PATH, how, len(how)), name)


def make_filesystem(
    fstype: str, options: tuple[tuple[str, str | None], ...], attributes: int
) -> int:
    """A new, detached mount of a filesystem: fsopen(2), fsconfig(2), fsmount(2)."""
    context = _checked(_fsopen(_FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC), fstype)
    try:
        for key, value in options:
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            text = None if value is None else os.fsencode(value)
            _checked(
                _fsconfig(_FSCONFIG, context, command, key.encode(), text, 0), f"{fstype} {key}"
            )
        _checked(_fsconfig(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), fstype)
        return _checked(_fsmount(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes), fstype)
    finally:
        os.close(context)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _checked(_pivot_root(os.fsencode(new), os.fsencode(old)), "root")


def move_onto_root() -> None:
    """Move the mount at the working directory over `/`, for a root that cannot be pivoted."""
    _checked(_mount(b".", b"/", None, MS_MOVE, None), "root")


def detach(path: str) -> None:
    """Detach what is mounted at `path`, and everything below: umount2(2)."""
    _checked(_umount2(os.fsencode(path), MNT_DETACH), path)


def detach_mount(path: str) -> None:
    """The same for a path of which the last name may not be a symbolic link."""
    _checked(_umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW), path)


def control(fd: int, request: int, argument: bytes | int, name: str) -> tuple[int, bytes]:
    """ioctl(2); the result, and the buffer as the kernel left it."""
    if isinstance(argument, int):
        return _checked(_ioctl_number(fd, request, argument), name), b""
    buffer = _Buffer()
    buffer.raw = argument
    result = _checked(_ioctl_buffer(fd, request, buffer), name)
    return result, buffer.raw[: len(argument)]


def filesystem_magic(fd: int, name: str) -> int:
    """The number of the kind of filesystem that a descriptor is on: fstatfs(2)."""
    buffer = _Buffer()
    _checked(_fstatfs(fd, buffer), name)
    return int.from_bytes(buffer.raw[:4], sys.byteorder)  # f_type; all numbers have 32 bits


def try_to_lock(fd: int, name: str) -> bool:
    """Take an exclusive flock(2) if nobody holds it; whether that worked."""
    try:
        _checked(_flock(fd, LOCK_EX | LOCK_NB), name)
    except BlockingIOError:
        return False
    return True


def try_to_lock_byte(fd: int, position: int, name: str) -> bool:
    """Take an exclusive lock on one byte if nobody holds it, until `fd` is closed: fcntl(2).

    It belongs to the open file, not to the process (F_OFD_SETLK).
    """
    # struct flock: type, whence (SEEK_SET), start, length, pid
    flock = _F_WRLCK.to_bytes(2, sys.byteorder) + bytes(6) + _u64(position, 1, 0)
    try:
        _checked(_fcntl_text(fd, _F_OFD_SETLK, flock), name)
    except BlockingIOError:
        return False
    return True


def sleep(microseconds: int) -> None:
    """usleep(3)."""
    _usleep(microseconds)


def wait_readable(fds: tuple[int, ...], milliseconds: int) -> list[bool]:
    """Wait until one of `fds` can be read or was closed, or time is up (-1: never): poll(2)."""
    buffer = _Buffer()
    request = b"".join(
        [
            fd.to_bytes(4, sys.byteorder) + _POLLIN.to_bytes(2, sys.byteorder) + bytes(2)
            for fd in fds
        ]
    )
    buffer.raw = request
    _checked(_poll(buffer, len(fds), milliseconds), "poll")
    # The last half of each structure is what happened.
    return [any(buffer.raw[end - 2 : end]) for end in range(_POLLFD, len(request) + 1, _POLLFD)]


def prctl(operation: int, argument: int = 0) -> None:
    """prctl(2) with one argument."""
    _checked(_prctl(operation, argument, 0, 0, 0), "process attributes")


def clear_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets: capset(2)."""
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    _checked(_capset(header, bytes(24)), "capabilities")


def default_signal(number: int) -> None:
    """Let a signal do what it does by default: signal(2)."""
    _signal(number, 0)


def unblock_signal(number: int) -> None:
    """Let a signal through: sigprocmask(2)."""
    signals = (1 << (number - 1)).to_bytes(_SIGNAL_SET, sys.byteorder)
    _checked(_sigprocmask(_SIG_UNBLOCK, signals, None), "signal mask")


def ignore_signal(number: int) -> None:
    """Let a signal do nothing: signal(2)."""
    _signal(number, 1)


def signal_process(process: int, number: int) -> None:
    """Send a signal to the process that the descriptor `process` is of: pidfd_send_signal(2)."""
    _checked(_pidfd_send_signal(_PIDFD_SEND_SIGNAL, process, number, 0, 0), "process")


def forget_signals() -> None:
    """Let each signal do what it does by default, and block none: signal(2), sigprocmask(2)."""
    for number in range(1, _LAST_SIGNAL + 1):
        _signal(number, 0)
    _sigprocmask(_SIG_SETMASK, bytes(_SIGNAL_SET), None)


def lift_limits() -> None:
    """Take away the limits that the caller set on this process: prlimit(2)."""
    for resource in _RLIMITS:
        _prlimit(0, resource, _u64(_RLIM_INFINITY, _RLIM_INFINITY), None)
