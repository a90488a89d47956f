# SPDX-License-Identifier: BSD-3-Clause
"""munge credentials, made and checked by libmunge: who sent a message, proved by the node's key."""

from __future__ import annotations

import ctypes
import os

from shifter_common.errors import MungeError

_LIBRARY = "libmunge.so.2"
_OPTION_SOCKET = 8  # MUNGE_OPT_SOCKET of munge.h

# munge_err_t of munge.h
_SUCCESS = 0
_INTERNAL = 1
SOCKET = 6
TIMEOUT = 7
EXPIRED = 15
REWOUND = 16
REPLAYED = 17
UNAUTHORIZED = 18
_STALE = frozenset({EXPIRED, REWOUND, REPLAYED})
_BAD_CREDENTIAL = 8

_CAUSES = {
    _BAD_CREDENTIAL: "it is not a munge credential: it may have been cut or altered on its way",
    9: "it was made by another version of munge",
    10: "its cipher is not known here",
    11: "its message authentication code is not known here",
    12: "its compression is not known here",
    13: "its security realm is not known here",
    14: "it was made with another key: both hosts must have the same munge.key",
    EXPIRED: "it has expired: check that the clocks of both hosts agree, then try again",
    REWOUND: "it was made in the future: check that the clocks of both hosts agree",
    REPLAYED: "it was used before: every request needs a new one",
    UNAUTHORIZED: "it was made for another user to read",
}

_library: ctypes.CDLL | None = None


class Credential:
    """What a credential proves: the user and group that made it, and what they put in it."""

    __slots__ = ("gid", "payload", "uid")

    def __init__(self, *, uid: int, gid: int, payload: bytes) -> None:
        self.uid = uid
        self.gid = gid
        self.payload = payload  # may hold passwords, so it is not part of repr

    def __repr__(self) -> str:
        return f"Credential(uid={self.uid}, gid={self.gid})"


def encode(payload: bytes = b"", *, socket: str | None = None) -> str:
    """Make a credential of the calling user; `socket` names another munged than the usual."""
    library = _load()
    credential = ctypes.c_void_p()
    with _Context(library, socket) as context:
        code = library.munge_encode(ctypes.byref(credential), context.handle, payload, len(payload))
        if code != _SUCCESS:
            raise context.refusal("munge made no credential", code)
    try:
        return ctypes.string_at(credential.value or 0).decode("ascii")
    finally:
        library.free(credential)


def decode(credential: str, *, socket: str | None = None, allow_stale: bool = False) -> Credential:
    """Check a credential and open it.

    `allow_stale` accepts one that is only too old, or was opened before: what `shifterimg login`
    stored in a file is read again and again.
    """
    library = _load()
    # libmunge reads up to the first NUL, so what follows one would go unseen.
    if "\0" in credential or not credential.isascii():
        raise MungeError(
            f"munge refused the credential: {_CAUSES[_BAD_CREDENTIAL]}", _BAD_CREDENTIAL
        )
    payload = ctypes.c_void_p()
    length = ctypes.c_int()
    uid = ctypes.c_uint32()
    gid = ctypes.c_uint32()
    with _Context(library, socket) as context:
        code = library.munge_decode(
            credential.encode("ascii"),
            context.handle,
            ctypes.byref(payload),
            ctypes.byref(length),
            ctypes.byref(uid),
            ctypes.byref(gid),
        )
        try:
            if code != _SUCCESS and not (allow_stale and code in _STALE):
                raise context.refusal("munge refused the credential", code)
            content = ctypes.string_at(payload.value, length.value) if payload.value else b""
        finally:
            library.free(payload)
    return Credential(uid=uid.value, gid=gid.value, payload=content)


class _Context:
    """A munge context: which daemon to ask, and what went wrong."""

    __slots__ = ("_library", "_socket", "handle")

    def __init__(self, library: ctypes.CDLL, socket: str | None) -> None:
        self._library = library
        self._socket = socket
        self.handle = ctypes.c_void_p(library.munge_ctx_create())

    def __enter__(self) -> _Context:
        if not self.handle:
            raise MungeError("libmunge is out of memory", 5)
        if self._socket:
            path = os.fsencode(self._socket)
            code = self._library.munge_ctx_set(self.handle, _OPTION_SOCKET, ctypes.c_char_p(path))
            if code != _SUCCESS:
                error = self.refusal(f"cannot use munge socket {self._socket!r}", code)
                self.__exit__()
                raise error
        return self

    def __exit__(self, *_: object) -> None:
        self._library.munge_ctx_destroy(self.handle)
        self.handle = ctypes.c_void_p()

    def refusal(self, what: str, code: int) -> MungeError:
        """What went wrong, why, and what to do."""
        if code in _CAUSES:
            return MungeError(f"{what}: {_CAUSES[code]}", code)
        text = self._library.munge_ctx_strerror(self.handle) or self._library.munge_strerror(code)
        detail = (text or b"unknown error").decode("utf-8", "replace")
        if code in (SOCKET, TIMEOUT):
            where = repr(self._socket) if self._socket else "its usual socket"
            detail = detail.removesuffix(" (Did you start munged?)")
            return MungeError(f"munged does not answer at {where}: is it running? ({detail})", code)
        return MungeError(f"{what}: {detail}", code)


def _load() -> ctypes.CDLL:
    global _library
    if _library is None:
        try:
            library = ctypes.CDLL(_LIBRARY, use_errno=True)
        except OSError as error:
            raise MungeError(
                f"cannot load {_LIBRARY} ({error}): install munge and its library (libmunge2)",
                _INTERNAL,
            ) from error
        library.munge_ctx_create.restype = ctypes.c_void_p
        library.munge_ctx_strerror.restype = ctypes.c_char_p
        library.munge_strerror.restype = ctypes.c_char_p
        library.munge_ctx_destroy.restype = None
        library.free.restype = None
        library.free.argtypes = [ctypes.c_void_p]
        _library = library
    return _library
