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

MOUNT_NAMESPACE = "mount namespace"  # what errors call it
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
NOSUID_NODEV = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV  # what every mount in a container has
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

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_SECUREBITS = 28
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECBIT_NO_SETUID_FIXUP = 4
_CAPABILITY_VERSION_3 = 0x20080522

SIGHUP = 1
SIGINT = 2
SIGKILL = 9
SIGPIPE = 13
SIGTERM = 15
SIGCHLD = 17
SIGXFSZ = 25
_SIG_UNBLOCK = 1
SIGNAL_SET = 128  # bytes of glibc's sigset_t, more than the kernel's

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


class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Character(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


if TYPE_CHECKING:

    class Buffer:
        raw: bytes
else:

    class Buffer(_ctypes.Array):
        _type_ = _Character
        _length_ = 512  # more than any structure that a call here fills in


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    # As the C functions say: read as a long, the int -1 may look like a large positive number.
    _restype_ = Int


_libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]


def function(name: str, *types: type) -> _Function:
    """A function of the C library that takes these and returns an int."""
    found = _Function(_ctypes.dlsym(_libc, name))
    found.argtypes = types
    return found


def call(*types: type) -> _Function:
    """syscall(2) for a call that takes these after its number, and returns a long."""
    found = function("syscall", Long, *types)
    found.restype = Long
    return found


_open_tree = call(Long, Text, Long)
_move_mount = call(Long, Text, Long, Text, Long)
_fsopen = call(Text, Long)
_fsconfig = call(Long, Long, Text, Text, Long)
_fsmount = call(Long, Long, Long)
_openat2 = call(Long, Text, Text, Long)
_mount_setattr = call(Long, Text, Long, Text, Long)
_unshare = function("unshare", Long)
_setns = function("setns", Long, Long)
_mount = function("mount", Text, Text, Text, Long, Text)
_umount2 = function("umount2", Text, Long)
_pivot_root = function("pivot_root", Text, Text)
_ioctl_number = function("ioctl", Long, Long, Long)
_ioctl_buffer = function("ioctl", Long, Long, Buffer)
_fstatfs = function("fstatfs", Long, Buffer)
_flock = function("flock", Long, Long)
_usleep = function("usleep", Long)
_sigprocmask = function("sigprocmask", Long, Text, Text)
_prctl = function("prctl", Long, Long, Long, Long, Long)
_capset = function("capset", Text, Text)
_signal = function("signal", Int, Long)


def checked(result: int, what: str) -> int:
    if result < 0:
        error = _ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def u64(*numbers: int) -> bytes:
    return b"".join([number.to_bytes(8, sys.byteorder) for number in numbers])


def unshare_mounts() -> None:
    """Give this process a mount namespace of its own: unshare(2)."""
    checked(_unshare(CLONE_NEWNS), MOUNT_NAMESPACE)


def unshare_users() -> None:
    """Put this process into a user namespace of its own, which maps no ids yet: unshare(2)."""
    checked(_unshare(CLONE_NEWUSER), "user namespace")


def enter_mounts(namespace: int) -> None:
    """Move this process into the mount namespace that a descriptor is open on: setns(2)."""
    checked(_setns(namespace, CLONE_NEWNS), MOUNT_NAMESPACE)


def change_propagation(path: str, flags: int) -> None:
    """Set the propagation of what is mounted at `path` to MS_SLAVE or MS_PRIVATE, | MS_REC."""
    checked(_mount(None, os.fsencode(path), None, flags, None), path)


def remount_read_only(path: str) -> None:
    """Let nobody write to the filesystem at `path`, by whichever mount of it: mount(2)."""
    flags = MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV
    checked(_mount(None, os.fsencode(path), None, flags, None), path)


def open_in(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): open `path` below the descriptor `directory` under the RESOLVE_ rules given."""
    how = u64(flags | os.O_CLOEXEC, mode, resolve)
    return checked(_openat2(_OPENAT2, directory, os.fsencode(path), how, len(how)), path)


def clone_tree(source: int, *, recursive: bool, name: str) -> int:
    """A detached copy of the mount at the descriptor `source`: open_tree(2)."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | AT_EMPTY_PATH
    if recursive:
        flags |= AT_RECURSIVE
    return checked(_open_tree(_OPEN_TREE, source, b"", flags), name)


def attach(mount: int, target: int, name: str) -> None:
    """Attach a detached mount on the object that `target` is open on: move_mount(2)."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    checked(_move_mount(_MOVE_MOUNT, mount, b"", target, b"", flags), name)


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
    how = u64(attributes, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    checked(_mount_setattr(_MOUNT_SETATTR, mount, b"", flags, how, len(how)), name)


def map_owners(mount: int, namespace: int, name: str) -> None:
    """Show files of a detached mount as owned by whom a user namespace maps their owners to."""
    how = u64(_MOUNT_ATTR_IDMAP, 0, 0, namespace)
    checked(_mount_setattr(_MOUNT_SETATTR, mount, b"", AT_EMPTY_PATH, how, len(how)), name)


def make_filesystem(
    fstype: str, options: tuple[tuple[str, str | None], ...], attributes: int
) -> int:
    """A new, detached mount of a filesystem: fsopen(2), fsconfig(2), fsmount(2)."""
    context = checked(_fsopen(_FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC), fstype)
    try:
        for key, value in options:
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            text = None if value is None else os.fsencode(value)
            checked(
                _fsconfig(_FSCONFIG, context, command, key.encode(), text, 0), f"{fstype} {key}"
            )
        checked(_fsconfig(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), fstype)
        return checked(_fsmount(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes), fstype)
    finally:
        os.close(context)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    checked(_pivot_root(os.fsencode(new), os.fsencode(old)), "root")


def move_onto_root() -> None:
    """Move the mount at the working directory over `/`, for a root that cannot be pivoted."""
    checked(_mount(b".", b"/", None, MS_MOVE, None), "root")


def detach(path: str) -> None:
    """Detach what is mounted at `path`, and everything below: umount2(2)."""
    checked(_umount2(os.fsencode(path), MNT_DETACH), path)


def detach_mount(path: str) -> None:
    """The same for a path of which the last name may not be a symbolic link."""
    checked(_umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW), path)


def control(fd: int, request: int, argument: bytes | int, name: str) -> tuple[int, bytes]:
    """ioctl(2); the result, and the buffer as the kernel left it."""
    if isinstance(argument, int):
        return checked(_ioctl_number(fd, request, argument), name), b""
    buffer = Buffer()
    buffer.raw = argument
    result = checked(_ioctl_buffer(fd, request, buffer), name)
    return result, buffer.raw[: len(argument)]


def filesystem_magic(fd: int, name: str) -> int:
    """The number of the kind of filesystem that a descriptor is on: fstatfs(2)."""
    buffer = Buffer()
    checked(_fstatfs(fd, buffer), name)
    return int.from_bytes(buffer.raw[:4], sys.byteorder)  # f_type; all numbers have 32 bits


def try_to_lock(fd: int, name: str) -> bool:
    """Take an exclusive flock(2) if nobody holds it; whether that worked."""
    try:
        checked(_flock(fd, LOCK_EX | LOCK_NB), name)
    except BlockingIOError:
        return False
    return True


def sleep(microseconds: int) -> None:
    """usleep(3)."""
    _usleep(microseconds)


def prctl(operation: int, argument: int = 0) -> None:
    """prctl(2) with one argument."""
    checked(_prctl(operation, argument, 0, 0, 0), "process attributes")


def clear_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets: capset(2)."""
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    checked(_capset(header, bytes(24)), "capabilities")


def default_signal(number: int) -> None:
    """Let a signal do what it does by default: signal(2)."""
    _signal(number, 0)


def unblock_signal(number: int) -> None:
    """Let a signal through: sigprocmask(2)."""
    signals = (1 << (number - 1)).to_bytes(SIGNAL_SET, sys.byteorder)
    checked(_sigprocmask(_SIG_UNBLOCK, signals, None), "signal mask")


def ignore_signal(number: int) -> None:
    """Let a signal do nothing: signal(2)."""
    _signal(number, 1)
