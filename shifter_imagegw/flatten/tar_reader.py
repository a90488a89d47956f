# SPDX-License-Identifier: BSD-3-Clause
"""The entries of one layer, one after the other, with their bytes.

A reader of our own because `tarfile` takes several times as long for each entry, and because
every size that a hostile archive may state has to be bounded here.
"""

from __future__ import annotations

from collections.abc import Iterator

from shifter_imagegw.flatten import names, sparse, tar_header
from shifter_imagegw.flatten.errors import LayerError, TruncatedLayerError
from shifter_imagegw.flatten.limits import Budget
from shifter_imagegw.flatten.sparse import Segment
from shifter_imagegw.flatten.stream import LayerStream
from shifter_imagegw.flatten.tar_header import BLOCK

# Kinds of entries; small numbers because there may be millions of them.
FILE, HARD_LINK, SYMLINK, DIRECTORY, DEVICE, FIFO, OTHER = range(7)

_NUMBER_MAX = 19  # decimal digits
_EXTENSION_MAX = 1 << 20  # bytes in the extended headers and long names of one entry
_LATEST_MTIME = (1 << 32) - 1  # of squashfs, seconds since the epoch
_ZEROS = memoryview(bytes(1 << 20))

_KINDS = {
    **dict.fromkeys(tar_header.FILE_TYPES, FILE),
    **dict.fromkeys(tar_header.DEVICES, DEVICE),
    ord("1"): HARD_LINK,
    ord("2"): SYMLINK,
    ord("5"): DIRECTORY,
    ord("6"): FIFO,
    ord("S"): FILE,  # old GNU sparse file
    ord("D"): DIRECTORY,  # with its listing as data, of incremental dumps
}
_EXTENSIONS = frozenset(b"xXgLK")
_KEYS = frozenset(
    (b"path", b"linkpath", b"mtime", b"size")
    + (b"GNU.sparse.major", b"GNU.sparse.size", b"GNU.sparse.realsize")
    + (b"GNU.sparse.name", b"GNU.sparse.map")
)  # what is read of extended headers; the rest is not even kept
_HAVE_NO_DATA = frozenset((HARD_LINK, SYMLINK, DEVICE, FIFO))


class Member:
    """One entry: what the layer says about one path."""

    __slots__ = ("kind", "link", "mode", "mtime", "name", "size", "sparse", "stored")

    def __init__(self) -> None:
        self.name = b""  # normalised, `names.normalise`
        self.link = b""  # of a hard link: normalised; of a symlink: as it is
        self.kind = FILE
        self.mode = 0  # the twelve permission bits
        self.mtime = 0  # seconds since the epoch, as squashfs can hold it
        self.size = 0  # bytes of the file
        self.stored = 0  # bytes in the layer
        self.sparse: list[Segment] | None = None


class TarReader:
    """Iterate over the members; ask for `data()` of a file before going on to the next."""

    def __init__(self, stream: LayerStream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._member = Member()
        self._rest = 0  # bytes up to the next header
        self._is_first = True

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            self._budget.spend_entry(self._stream.name)
            yield member

    def data(self) -> Iterator[memoryview]:
        """Give the bytes of the current file, holes as zeros."""
        member, padded = self._member, self._rest
        self._rest = 0
        if member.sparse is None:
            yield from self._stream.pieces(member.stored, self._show)
            self._stream.skip(padded - member.stored, self._show)
            return
        position = 0
        for offset, count in member.sparse:
            yield from self._zeros(offset - position)
            yield from self._stream.pieces(count, self._show)
            position = offset + count
        yield from self._zeros(member.size - position)
        self._stream.skip(padded - member.stored, self._show)

    def padded_data(self) -> Iterator[memoryview]:
        """Give the bytes of the current file and those that fill its last block."""
        member = self._member
        if member.sparse is None:
            padded, self._rest = self._rest, 0
            yield from self._stream.pieces(padded, self._show)
        else:
            yield from self.data()
            yield from self._zeros(-member.size % BLOCK)

    def _next(self) -> Member | None:
        extensions: dict[bytes, bytes] = {}
        map_0_0: list[int] = []
        spent = 0
        while True:
            if self._rest:
                self._stream.skip(self._rest, self._show)
                self._rest = 0
            block = self._block()
            if block is None:
                if spent:
                    raise TruncatedLayerError(
                        f"layer {self._stream.name} is truncated: it ends behind an extended header"
                    )
                return None
            kind = block[156]
            if kind not in _EXTENSIONS:
                break
            spent += self._read_extension(kind, block, extensions, map_0_0)
            if spent > _EXTENSION_MAX:
                raise self._too_extended(spent)
        member = self._member = Member()
        self._fill(member, block)
        if extensions:
            self._apply(member, extensions, map_0_0)
        self._finish(member, block)
        return member

    def _block(self) -> bytes | None:
        block = self._stream.take(BLOCK)
        # The first block of zeros ends an archive; so does the end of the layer, as in tar.
        if not block or block == tar_header.ZERO_BLOCK:
            return None
        if len(block) < BLOCK:
            raise TruncatedLayerError(
                f"layer {self._stream.name} is truncated: it ends inside a header"
            )
        if not tar_header.has_valid_checksum(block):
            after = "" if self._is_first else f" after {self._show()}"
            raise LayerError(
                f"layer {self._stream.name} is not a valid tar archive: wrong checksum{after}"
            )
        self._is_first = False
        return block

    def _fill(self, member: Member, block: bytes) -> None:
        member.name = tar_header.name_of(block)
        kind = member.kind = _KINDS.get(block[156], OTHER)
        member.mode = self._number(block[100:108], "mode") & 0o7777
        member.mtime = self._number(block[136:148], "time")
        size = self._number(block[124:136], "size")
        if kind in _HAVE_NO_DATA:
            member.link = tar_header.text(block[157:257])
        elif size < 0:
            raise LayerError(
                f"layer {self._stream.name} gives {names.show(member.name)} a negative size"
            )
        else:
            member.size = member.stored = size

    def _finish(self, member: Member, block: bytes) -> None:
        self._rest = member.stored + -member.stored % BLOCK
        if block[156] == 0 and member.name.endswith(b"/"):
            member.kind = DIRECTORY  # the seventh edition's way to say so
        layer = self._stream.name
        if block[156] == ord("S"):
            segments, member.size = self._old_sparse_map(block)
            member.sparse = segments
        member.name = names.normalise(member.name, layer)
        if member.kind == HARD_LINK:
            member.link = names.normalise(member.link, layer)
        elif member.kind == SYMLINK:
            self._check_target(member)
        if member.sparse is not None:
            sparse.check(member.sparse, member.size, member.stored, layer, self._show())
            self._budget.spend_bytes(layer, member.size - member.stored)
        if not 0 <= member.mtime <= _LATEST_MTIME:
            member.mtime = max(0, min(member.mtime, _LATEST_MTIME))

    def _check_target(self, member: Member) -> None:
        if not 0 < len(member.link) <= names.TARGET_MAX:
            raise LayerError(
                f"layer {self._stream.name} has a symbolic link {self._show()} with a target of"
                f" {len(member.link)} bytes; 1 to {names.TARGET_MAX} are possible"
            )

    def _read_extension(
        self, kind: int, block: bytes, extensions: dict[bytes, bytes], map_0_0: list[int]
    ) -> int:
        """Read one extended header, and give the bytes that it takes."""
        size = self._number(block[124:136], "size")
        if not 0 <= size <= _EXTENSION_MAX:
            raise self._too_extended(size)
        data = self._exactly(size + -size % BLOCK)[:size]
        if kind in b"L":
            extensions[b"GNU.long.path"] = tar_header.text(data)
        elif kind in b"K":
            extensions[b"GNU.long.linkpath"] = tar_header.text(data)
        elif kind in b"xX":
            self._read_records(data, extensions, map_0_0)
        # Global headers are read over, as Go's reader does, which most image tools are built on.
        return BLOCK + size

    def _too_extended(self, size: int) -> LayerError:
        return LayerError(
            f"layer {self._stream.name} has an extended header of {size} bytes; more than"
            f" {_EXTENSION_MAX} for one entry make no sense"
        )

    def _read_records(
        self, data: bytes, extensions: dict[bytes, bytes], map_0_0: list[int]
    ) -> None:
        """Read `LENGTH KEY=VALUE\\n` again and again; LENGTH counts all of that."""
        position = 0
        while position < len(data):
            space = data.find(b" ", position, position + 20)
            digits = data[position : max(space, position)]
            end = position + int(digits) if digits.isdigit() else 0
            key, separator, value = data[space + 1 : max(end - 1, 0)].partition(b"=")
            if not space < end <= len(data) or data[end - 1 : end] != b"\n" or not separator:
                if not data[position:].strip(b"\0"):
                    return
                raise LayerError(f"layer {self._stream.name} has a damaged extended header")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                map_0_0.append(self._decimal(value, key))
            elif key in (b"path", b"linkpath") and b"\0" in value:
                raise LayerError(f"layer {self._stream.name} has a name that holds a NUL byte")
            elif key in _KEYS:
                extensions[key] = value
            position = end

    def _apply(self, member: Member, extensions: dict[bytes, bytes], map_0_0: list[int]) -> None:
        """Let extended headers override what the header says; POSIX ones win over GNU ones."""
        take = extensions.get
        member.name = take(b"path") or take(b"GNU.long.path") or member.name
        if member.kind in (HARD_LINK, SYMLINK):
            member.link = take(b"linkpath") or take(b"GNU.long.linkpath") or member.link
        if mtime := take(b"mtime"):
            member.mtime = self._seconds(mtime)
        if (size := take(b"size")) and member.kind not in _HAVE_NO_DATA:
            member.size = member.stored = self._decimal(size, b"size")
        if member.kind != FILE:
            return
        if take(b"GNU.sparse.major"):
            self._sparse_1_0(member, extensions)
        elif b"GNU.sparse.size" in extensions:
            pairs = map_0_0
            if listed := take(b"GNU.sparse.map"):
                pairs = [self._decimal(item, b"GNU.sparse.map") for item in listed.split(b",")]
            member.name = take(b"GNU.sparse.name") or member.name
            member.size = self._decimal(extensions[b"GNU.sparse.size"], b"GNU.sparse.size")
            member.sparse = sparse.pair_up(pairs)

    def _sparse_1_0(self, member: Member, extensions: dict[bytes, bytes]) -> None:
        """The map lies in front of the data: the number of segments, then two lines for each."""
        member.name = extensions.get(b"GNU.sparse.name") or member.name
        if size := extensions.get(b"GNU.sparse.realsize"):
            member.size = self._decimal(size, b"GNU.sparse.realsize")
        lines: list[bytes] = []
        rest = b""
        count: int | None = None
        while count is None or len(lines) < 2 * count:
            if member.stored < BLOCK:
                raise LayerError(
                    f"layer {self._stream.name} has a sparse file without its map:"
                    f" {names.show(member.name)}"
                )
            *complete, rest = (rest + self._exactly(BLOCK)).split(b"\n")
            member.stored -= BLOCK
            lines += complete
            if count is None and lines:
                count = self._decimal(lines.pop(0), b"GNU.sparse.map")
                sparse.check_count(count, self._stream.name, names.show(member.name))
            if len(rest) > _NUMBER_MAX and (count is None or len(lines) < 2 * count):
                raise LayerError(
                    f"layer {self._stream.name} has a sparse file with a damaged map:"
                    f" {names.show(member.name)}"
                )
        numbers = [self._decimal(line, b"GNU.sparse.map") for line in lines[: 2 * count]]
        member.sparse = sparse.pair_up(numbers)

    def _old_sparse_map(self, block: bytes) -> tuple[list[Segment], int]:
        """Four segments in the header, then blocks of 21 while a flag says so."""
        numbers = [self._number(block[at : at + 12], "map") for at in range(386, 482, 12)]
        is_extended = block[482]
        while is_extended:
            more = self._exactly(BLOCK)
            numbers += [self._number(more[at : at + 12], "map") for at in range(0, 504, 12)]
            sparse.check_count(len(numbers) // 2, self._stream.name, self._show())
            is_extended = more[504]
        segments = [pair for pair in sparse.pair_up(numbers) if pair[1]]
        return segments, self._number(block[483:495], "size")

    def _exactly(self, size: int) -> bytes:
        data = self._stream.take(size)
        if len(data) < size:
            raise TruncatedLayerError(
                f"layer {self._stream.name} is truncated: it ends inside an extended header"
            )
        return data

    def _number(self, field: bytes, what: str) -> int:
        value = tar_header.number(field)
        if value is None:
            raise LayerError(
                f"layer {self._stream.name} is not a valid tar archive: {what} is {field!r}"
                f" after {self._show()}"
            )
        return value

    def _decimal(self, value: bytes, key: bytes) -> int:
        if not value.isdigit() or len(value) > _NUMBER_MAX:
            raise LayerError(
                f"layer {self._stream.name} has a damaged extended header: {key.decode()} is"
                f" {names.show(value)}"
            )
        return int(value)

    def _seconds(self, value: bytes) -> int:
        whole = value.partition(b".")[0]
        negative = whole.startswith(b"-")
        return 0 if negative else self._decimal(whole or b"0", b"mtime")

    def _show(self) -> str:
        return names.show(self._member.name)

    def _zeros(self, count: int) -> Iterator[memoryview]:
        while count > 0:
            self._budget.pulse()
            yield _ZEROS[:count]
            count -= len(_ZEROS)
