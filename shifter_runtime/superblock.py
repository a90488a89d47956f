# SPDX-License-Identifier: BSD-3-Clause
"""Why the kernel may have refused an image file, by what the file says of itself.

Read only after a mount failed, and only to find words: the kernel alone decides what is mounted.
Layouts: the kernel's squashfs_fs.h, ext4.h and xfs_format.h.
"""

from __future__ import annotations

import os

_ENOUGH = 2048  # bytes from the start that hold all that is looked at
_AGAIN = "pull the image again"
_COMPRESSORS = ("", "gzip", "lzma", "lzo", "xz", "lz4", "zstd")


def problem(fd: int, fstype: str) -> str:
    """What may be wrong with the file: the end of a sentence, with what to do."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, _ENOUGH, 0).ljust(_ENOUGH, b"\0")
    place, magic = _MAGIC[fstype]
    if head[place : place + len(magic)] != magic:
        return f"it is no {fstype} file; {_AGAIN}"
    promised = _SIZE[fstype](head)
    if promised > size:
        return f"it is cut off: it promises {promised} bytes and has {size}; {_AGAIN}"
    if fstype == "squashfs":
        number = int.from_bytes(head[20:22], "little")
        if 0 < number < len(_COMPRESSORS):
            return (
                f"this node's kernel may lack the compressor {_COMPRESSORS[number]}, or the file "
                f"is damaged; {_AGAIN}, or ask the administrator for another compressor"
            )
    return f"it is damaged, or made for another kernel than this node's; {_AGAIN}"


def _squashfs_size(head: bytes) -> int:
    return int.from_bytes(head[40:48], "little")


def _ext4_size(head: bytes) -> int:
    """Blocks, without the upper half that only larger filesystems than 16 TiB have, and theirs."""
    return int.from_bytes(head[1028:1032], "little") << (10 + (head[1048] & 15))


def _xfs_size(head: bytes) -> int:
    return int.from_bytes(head[8:16], "big") * int.from_bytes(head[4:8], "big")


_MAGIC = {"squashfs": (0, b"hsqs"), "ext4": (1080, b"\x53\xef"), "xfs": (0, b"XFSB")}
_SIZE = {"squashfs": _squashfs_size, "ext4": _ext4_size, "xfs": _xfs_size}
