# SPDX-License-Identifier: BSD-3-Clause
"""/etc/ld.so.cache: where the loader of a node or an image finds its libraries."""

from __future__ import annotations

import struct

_OLD_MAGIC = b"ld.so-1.7.0"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = "20sIIB3xI12x"  # magic, number of entries, bytes of texts, flags, extension, unused
_ENTRY = "iIIIQ"  # flags, name, path, unused, hardware capabilities


def parse(content: bytes) -> list[tuple[str, str]]:
    """Pairs of name and path, in the loader's order; empty where this is no such file.

    One name may come several times: for other classes (32 bits), or for better processors.
    """
    start = content.find(_MAGIC)
    if start < 0 or (start and not content.startswith(_OLD_MAGIC)):
        return []
    order = ">" if _is_big(content, start) else "<"
    size = struct.calcsize(order + _HEADER)
    if len(content) < start + size:
        return []
    count: int = struct.unpack_from(order + _HEADER, content, start)[1]
    step = struct.calcsize(order + _ENTRY)
    entries = []
    for index in range(min(count, (len(content) - start - size) // step)):
        place = start + size + index * step
        _, name, path, _, _ = struct.unpack_from(order + _ENTRY, content, place)
        # Offsets count from where this format starts, which an older one may precede.
        entries.append((_text(content, start + name), _text(content, start + path)))
    return [(name, path) for name, path in entries if name and path.startswith("/")]


def _is_big(content: bytes, start: int) -> bool:
    flags = content[start + 28 : start + 29]
    if flags in (b"\2", b"\3"):
        return flags == b"\3"
    # Older ones left the flags empty; of the number of entries, the first byte is then the highest.
    return content[start + 20 : start + 21] == b"\0"


def _text(content: bytes, start: int) -> str:
    end = content.find(b"\0", start)
    return content[start:end].decode("utf-8", "surrogateescape") if 0 < start < end else ""
