# SPDX-License-Identifier: BSD-3-Clause
"""How sites tell the converter to pack: options of mksquashfs, said to tar2sqfs in its words.

Every option of mksquashfs 4.0 to 4.6 is known here by name: what holds anyway, what is said to
tar2sqfs in its own words, and what is refused, with the reason.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from shifter_imagegw.errors import ConversionError

T = TypeVar("T")

_KEY = "ConverterOptions.squashfs"
_COMPRESSORS = ("gzip", "lz4", "lzo", "xz", "zstd")
_LEVELS = {"gzip": range(1, 10), "lzo": range(1, 10), "zstd": range(1, 23)}
_QUICKEST = 1  # of zstd: packing is what a pull waits for, and level 3 saves but one twentieth
_STRATEGIES = {
    **{name: name for name in ("default", "filtered", "fixed")},
    **{"huffman_only": "huffman", "run_length_encoded": "rle"},
}
_FILTERS = ("x86", "arm", "armthumb", "powerpc", "sparc", "ia64")
_BLOCK_SIZES = [1 << bits for bits in range(12, 21)]
_JOBS_MAX = 16
_BACKLOG = 64  # blocks read ahead: evens out small and large files, at the price of 8 MiB

# What says no more than what holds here anyway.
_ALWAYS_SO = frozenset(
    ("-all-root", "-root-owned", "-noappend", "-no-xattrs", "-no-progress", "-progress", "-quiet")
    + ("-info", "-no-exports", "-no-recovery", "-exit-on-error", "-reproducible", "-tar")
    + ("-no-strip", "-tarstyle", "-always-use-fragments", "-tailends", "-one-file-system", "-x")
    + ("-one-file-system-x", "-nolzma", "-check_data", "-le")
    + ("-no-duplicates", "-no-sparse")  # what they would save is not worth a larger image
)
# The same, with a value: memory is bounded anyway, and the owner of everything is root.
_ALWAYS_SO_WITH = {
    **dict.fromkeys(("-mem", "-mem-percent", "-mem-default"), None),
    **dict.fromkeys(("-mkfs-time", "-fstime"), "0"),
    **dict.fromkeys(("-force-uid", "-force-gid", "-root-uid", "-root-gid"), "0"),
    **dict.fromkeys(("-default-uid", "-default-gid"), "0"),
}

_OF_THE_IMAGE = "it would change what is in the image, which is known by its digest: remove it"
_OF_THE_TOOL = "images are packed by tar2sqfs, which cannot do that: remove it"
_OF_FILES = "it is about files that are packed, but a pull packs none: remove it"
_APPENDS = "each image is a file of its own, never appended to: remove it"
_XATTRS = "images hold no extended attributes, which could raise privileges: use -no-xattrs"
_STORED = "tar2sqfs compresses whatever becomes smaller by it: use -comp lz4 to unpack quickly"

_REFUSED = {
    **dict.fromkeys(
        ("-all-time", "-root-time", "-root-mode", "-keep-as-directory", "-action", "-log-action")
        + ("-true-action", "-false-action", "-action-file", "-log-action-file", "-pseudo-override")
        + ("-true-action-file", "-false-action-file", "-p", "-pf", "-pd", "-e", "-ef", "-wildcards")
        + ("-regex", "-default-mode", "-uid-gid-offset", "-force-file-mode", "-force-dir-mode")
        + ("-inode-time", "-max-depth", "-pseudo-dir", "-no-hardlinks"),
        _OF_THE_IMAGE,
    ),
    **dict.fromkeys(
        ("-no-fragments", "-nopad", "-offset", "-o", "-throttle")
        + ("-limit", "-percentage", "-overcommit", "-not-reproducible", "-be", "-lzma")
        + ("-help", "-h", "-version", "-Xhelp", "-help-all", "-help-option", "-help-section"),
        _OF_THE_TOOL,
    ),
    **dict.fromkeys(("-sort", "-cpiostyle", "-cpiostyle0", "-ignore-zeros", "-stdin"), _OF_FILES),
    **dict.fromkeys(("-root-becomes", "-recover", "-recovery-path"), _APPENDS),
    **dict.fromkeys(("-xattrs", "-xattrs-add", "-xattrs-include", "-xattrs-exclude"), _XATTRS),
    **dict.fromkeys(
        ("-noI", "-noId", "-noD", "-noF", "-noX", "-noInodeCompression", "-noDataCompression")
        + ("-noIdTableCompression", "-noFragmentCompression", "-noXattrCompression"),
        _STORED,
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquashfsOptions:
    """How to pack.

    Measured on 731 MB in 40,000 entries, seconds of processor time of tar2sqfs and size:
    zstd 3: 2.7 s, 192 MB; zstd 2: 2.3 s, 196 MB; zstd 1: 2.0 s, 201 MB; lz4: 1.4 s, 256 MB.
    Blocks of 256 KiB save 3 % and make each small read from the image unpack twice as much.
    """

    compressor: str = "zstd"
    level: int | None = None
    extra: tuple[str, ...] = ()  # of the compressor, as tar2sqfs spells them
    block_size: int = 128 << 10  # bytes
    jobs: int = 0  # threads that compress; 0: one for each processor, up to what can be fed
    exportable: bool = False
    tail_packing: bool = True

    def arguments(self) -> list[str]:
        """Say it to tar2sqfs."""
        arguments = [
            f"--compressor={self.compressor}",
            f"--block-size={self.block_size}",
            f"--num-jobs={self.jobs or min(_JOBS_MAX, len(os.sched_getaffinity(0)))}",
            f"--queue-backlog={_BACKLOG}",
        ]
        level = _QUICKEST if self.level is None and self.compressor == "zstd" else self.level
        extra = self.extra if level is None else (f"level={level}", *self.extra)
        if extra:
            arguments.append(f"--comp-extra={','.join(extra)}")
        if self.exportable:
            arguments.append("--exportable")
        if not self.tail_packing:
            arguments.append("--no-tail-packing")
        return arguments


def parse(arguments: Sequence[str]) -> SquashfsOptions:
    """Read the site's options; raises ConversionError, naming the one that cannot be."""
    found = _Found()
    rest = iter(arguments)
    for argument in rest:
        if argument in _ALWAYS_SO:
            continue
        if argument in _ALWAYS_SO_WITH:
            _require_same(argument, _value(argument, rest), _ALWAYS_SO_WITH[argument])
        elif argument in _UNDERSTOOD:
            _UNDERSTOOD[argument](found, argument, rest)
        elif argument in _REFUSED:
            raise _error(f"{argument} cannot be followed: {_REFUSED[argument]}")
        else:
            raise _error(
                f"{argument!r} is no option of mksquashfs that is known here; known are"
                f" {', '.join(sorted(_UNDERSTOOD))}, and what holds anyway, such as -no-xattrs"
            )
    return found.options()


class _Found:
    """What was read so far; the options of a compressor may stand before its name."""

    def __init__(self) -> None:
        self.compressor = "zstd"
        self.level: int | None = None
        self.extra: dict[str, tuple[str, ...]] = {}  # by option of mksquashfs
        self.dictionary: Callable[[int], int] | None = None  # its size, by that of a block
        self.rest: dict[str, int] = {}

    def options(self) -> SquashfsOptions:
        for option in self.extra:
            if self.compressor not in _BELONGS_TO[option]:
                raise _error(f"{option} is no option of the compressor {self.compressor}")
        levels = _LEVELS.get(self.compressor)
        if self.level is not None and (levels is None or self.level not in levels):
            if levels is None:
                raise _error(f"the compressor {self.compressor} has no -Xcompression-level")
            raise _error(
                f"-Xcompression-level of {self.compressor} must be {levels[0]} to {levels[-1]},"
                f" not {self.level}"
            )
        block_size = self.rest.get("block_size", SquashfsOptions.block_size)
        extra = [word for words in self.extra.values() for word in words]
        if self.dictionary is not None:
            extra.append(f"dictsize={_dictionary(self.dictionary(block_size), block_size)}")
        return SquashfsOptions(
            compressor=self.compressor,
            level=self.level,
            extra=tuple(extra),
            block_size=block_size,
            jobs=self.rest.get("jobs", 0),
            exportable=bool(self.rest.get("exportable")),
            tail_packing=bool(self.rest.get("tail_packing", True)),
        )


Rest = Iterator[str]


def _take_compressor(found: _Found, option: str, rest: Rest) -> None:
    found.compressor = _one_of(_COMPRESSORS, option, _value(option, rest))


def _take_level(found: _Found, option: str, rest: Rest) -> None:
    found.level = _number(option, _value(option, rest))


def _take_block_size(found: _Found, option: str, rest: Rest) -> None:
    size = _number(option, _value(option, rest))
    if size not in _BLOCK_SIZES:
        raise _error(f"{option} must be a power of two from 4K to 1M, not {size}")
    found.rest["block_size"] = size


def _take_jobs(found: _Found, option: str, rest: Rest) -> None:
    found.rest["jobs"] = _number(option, _value(option, rest))


def _take_dictionary(found: _Found, option: str, rest: Rest) -> None:
    value = _value(option, rest)
    if value.endswith("%"):
        per_mille = _tenths(option, value[:-1])  # such as 37.5 %
        found.dictionary = lambda block: block * per_mille // 1000
    else:
        size = _number(option, value)
        found.dictionary = lambda _: size
    found.extra[option] = ()


def _take_window(found: _Found, option: str, rest: Rest) -> None:
    bits = _number(option, _value(option, rest))
    if bits not in range(8, 16):
        raise _error(f"{option} must be 8 to 15, not {bits}")
    found.extra[option] = (f"window={bits}",)


def _take_strategies(found: _Found, option: str, rest: Rest) -> None:
    names = _value(option, rest).split(",")
    found.extra[option] = tuple(
        _STRATEGIES[_one_of(tuple(_STRATEGIES), option, name)] for name in names
    )


def _take_filters(found: _Found, option: str, rest: Rest) -> None:
    names = _value(option, rest).split(",")
    found.extra[option] = tuple(_one_of(_FILTERS, option, name) for name in names)


def _take_algorithm(found: _Found, option: str, rest: Rest) -> None:
    value = _value(option, rest)
    if value != "lzo1x_999":
        raise _error(f"{option} must be lzo1x_999, not {value!r}: to pack faster, use -comp lz4")
    found.extra[option] = ("algorithm=lzo1x_999",)


def _take_hc(found: _Found, option: str, rest: Rest) -> None:
    found.extra[option] = ("hc",)


def _take_exports(found: _Found, option: str, rest: Rest) -> None:
    found.rest["exportable"] = True


def _take_no_tailends(found: _Found, option: str, rest: Rest) -> None:
    found.rest["tail_packing"] = False


_UNDERSTOOD: dict[str, Callable[[_Found, str, Rest], None]] = {
    "-comp": _take_compressor,
    "-b": _take_block_size,
    "-processors": _take_jobs,
    "-exports": _take_exports,
    "-no-tailends": _take_no_tailends,
    "-Xcompression-level": _take_level,
    "-Xdict-size": _take_dictionary,
    "-Xbcj": _take_filters,
    "-Xwindow-size": _take_window,
    "-Xstrategy": _take_strategies,
    "-Xalgorithm": _take_algorithm,
    "-Xhc": _take_hc,
}
_BELONGS_TO = {
    **{"-Xdict-size": ("xz",), "-Xbcj": ("xz",), "-Xhc": ("lz4",), "-Xalgorithm": ("lzo",)},
    **{"-Xwindow-size": ("gzip",), "-Xstrategy": ("gzip",)},
}


def _dictionary(size: int, block_size: int) -> int:
    odd = size // (size & -size) if size else 0  # how often the largest power of two is in it
    if odd not in (1, 3) or not 8192 <= size <= block_size:
        raise _error(
            f"-Xdict-size must be a power of two, or that and a half, from 8K to the size of a"
            f" block, not {size} bytes"
        )
    return size


def _value(option: str, rest: Rest) -> str:
    value = next(rest, None)
    if value is None:
        raise _error(f"{option} needs a value")
    return value


def _require_same(option: str, value: str, fixed: str | None) -> None:
    if fixed is not None and value != fixed:
        raise _error(f"{option} is always {fixed} here, never {value!r}: remove it")


def _one_of(choices: Sequence[str], option: str, value: str) -> str:
    if value not in choices:
        raise _error(f"{option} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _number(option: str, value: str) -> int:
    factor = {"K": 1 << 10, "M": 1 << 20}.get(value[-1:].upper(), 1)
    digits = value[:-1] if factor > 1 else value
    if not digits.isdecimal():
        raise _error(f"{option} must be a number, not {value!r}")
    return int(digits) * factor


def _tenths(option: str, value: str) -> int:
    whole, _, tenth = value.partition(".")
    return 10 * _number(option, whole) + _number(option, tenth or "0")


def _error(problem: str) -> ConversionError:
    return ConversionError(f"{_KEY}: {problem}")
