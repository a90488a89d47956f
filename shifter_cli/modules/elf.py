# SPDX-License-Identifier: BSD-3-Clause
"""What a shared object says of itself: its name, what it needs, what it provides.

Files are only read, never run: `ldd` would start the file's own loader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from shifter_cli.modules.errors import NotALibraryError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

_MOST_VERSIONS = 10_000  # of a library; glibc has about fifty
_WEAK = 0x2  # VER_FLG_WEAK: the loader only warns if such a version is missing


@dataclasses.dataclass(frozen=True)
class SharedObject:
    """The dynamic section of one library, plug-in or program."""

    bits: int  # 32 or 64
    machine: str  # as in elf.h: EM_X86_64
    soname: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    needed_versions: Mapping[str, frozenset[str]]  # by the library that must provide them
    versions: frozenset[str]  # that it provides itself

    @property
    def architecture(self) -> tuple[int, str]:
        """What libraries of one process must agree about."""
        return self.bits, self.machine


def read(file: IO[bytes], name: str) -> SharedObject:
    """Understand the open `file`; `name` is what an error calls it."""
    # Here, because most of what shifter-admin does needs none of it.
    from elftools.common.exceptions import ELFError

    try:
        found = _read(file)
    except ELFError as error:
        raise NotALibraryError(f"{name} is not a shared object: {error}") from error
    except Exception as error:  # pyelftools fails on broken files in many ways of Python's own
        raise NotALibraryError(f"{name} is a broken shared object: {error!r}") from error
    if found is None:
        raise NotALibraryError(f"{name} is not a shared object")
    return found


def number(file: IO[bytes], name: str, symbol: str) -> int | None:
    """The value of an `unsigned int` that a shared object offers; None where it has none."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".dynsym")
        found = table.get_symbol_by_name(symbol) if isinstance(table, SymbolTableSection) else None
        for one in found or ():
            section = elf.get_section(one["st_shndx"])
            start = one["st_value"] - section["sh_addr"]
            value = section.data()[start : start + 4]
            return int.from_bytes(value, "little" if elf.little_endian else "big")
    except Exception as error:  # see `read`
        raise NotALibraryError(f"{name} is a broken shared object: {error!r}") from error
    return None


def _read(file: IO[bytes]) -> SharedObject | None:
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(file)
    if elf["e_type"] not in ("ET_DYN", "ET_EXEC"):
        return None
    texts = _dynamic_texts(elf)
    needed_versions, versions = _versions(elf)
    return SharedObject(
        bits=elf.elfclass,
        machine=str(elf["e_machine"]),
        soname=next(iter(texts["DT_SONAME"]), None),
        needed=tuple(texts["DT_NEEDED"]),
        rpath=_path_list(texts["DT_RPATH"]),
        runpath=_path_list(texts["DT_RUNPATH"]),
        needed_versions=needed_versions,
        versions=versions,
    )


def _dynamic_texts(elf: ELFFile) -> dict[str, list[str]]:
    from elftools.elf.dynamic import DynamicSegment

    found: dict[str, list[str]] = {
        name: [] for name in ("DT_SONAME", "DT_NEEDED", "DT_RPATH", "DT_RUNPATH")
    }
    for segment in elf.iter_segments("PT_DYNAMIC"):
        for tag in segment.iter_tags() if isinstance(segment, DynamicSegment) else ():
            name = tag.entry.d_tag
            if name in found:
                found[name].append(getattr(tag, name.removeprefix("DT_").lower()))
    return found


def _versions(elf: ELFFile) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection

    needed: dict[str, frozenset[str]] = {}
    provided: set[str] = set()
    for section in elf.iter_sections():
        if not isinstance(section, GNUVerDefSection | GNUVerNeedSection):
            continue
        if section.num_versions() > _MOST_VERSIONS:
            raise ValueError(f"{section.num_versions()} symbol versions")
        for version, auxiliaries in section.iter_versions():
            if isinstance(section, GNUVerDefSection):
                # The first name is the version itself, the others those that it grew from.
                provided.update(auxiliary.name for auxiliary in list(auxiliaries)[:1])
            else:
                names = (one.name for one in auxiliaries if not one["vna_flags"] & _WEAK)
                file = str(version.name)
                needed[file] = needed.get(file, frozenset()) | frozenset(names)
    return needed, frozenset(provided)


def _path_list(texts: list[str]) -> tuple[str, ...]:
    return tuple(path for text in texts for path in text.split(":") if path)
