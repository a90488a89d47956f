# SPDX-License-Identifier: BSD-3-Clause
"""Whether the libraries of a module can run in an image: versions of glibc, missing libraries."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from shifter_cli.modules import elf
from shifter_cli.modules.elf import SharedObject
from shifter_cli.modules.errors import CheckError, NotALibraryError
from shifter_cli.modules.image_files import Files, ImageLibraries
from shifter_cli.modules.root_tree import RootTree
from shifter_cli.modules.search import is_glibc

_NUMBERED = re.compile(r"^([A-Za-z]+(?:_[A-Za-z]+)*)_(\d+(?:\.\d+)*)$")  # GLIBC_2.36


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that does not fit."""

    library: str
    text: str
    is_error: bool

    def __str__(self) -> str:
        return f"{self.library} {self.text}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All that was found; the module fits if no finding is an error."""

    glibc: str | None  # the newest version that the image's provides
    needs: str | None  # the newest that a library of the module needs
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        return not any(finding.is_error for finding in self.findings)

    def grouped(self) -> list[Finding]:
        """What people read: one finding where several libraries have the same."""
        groups: dict[tuple[str, bool], list[str]] = {}
        for finding in self.findings:
            groups.setdefault((finding.text, finding.is_error), []).append(finding.library)
        return [
            Finding(first, f"{text} (so do {', '.join(others)})" if others else text, is_error)
            for (text, is_error), (first, *others) in groups.items()
        ]


def check(module: RootTree, image: Files, core: frozenset[str]) -> Verdict:
    """Hold every library of a module against an image.

    `core` are names of libraries that everything depends on; one of those must find all it needs.
    """
    libraries = libraries_of(module)
    if not libraries:
        raise CheckError(f"there are no libraries in {module}")
    findings: list[Finding] = []
    newest: list[str] = []
    glibc = None
    for architecture in sorted({one.architecture for one in libraries.values()}):
        own = {name: one for name, one in libraries.items() if one.architecture == architecture}
        there = ImageLibraries(image, architecture)
        libc = there.find("libc.so.6")
        newest_there = _newest(libc.versions, "GLIBC") if libc else None
        newest += [version for one in own.values() for version in _glibc_versions(one)]
        if newest_there is None:  # or a look-alike, such as gcompat on musl
            findings.append(_no_glibc(architecture, len(libraries) == len(own)))
            continue
        glibc = glibc or newest_there
        needed = _needed_by(core, own)
        for name, library in own.items():
            findings += _versions(name, library, own, there)
            findings += _missing(name, library, own, there, is_error=name in needed)
            findings += _older(name, library, there)
    unique = dict.fromkeys(findings)
    ordered = sorted(
        unique, key=lambda one: (not one.is_error, one.library not in core, one.library, one.text)
    )
    return Verdict(glibc, _newest(newest, "GLIBC"), tuple(ordered))


def libraries_of(module: RootTree) -> dict[str, SharedObject]:
    """Every library below lib*, by each of its names."""
    found: dict[str, SharedObject] = {}
    todo = [f"/{name}" for name in module.names("/") if name.startswith("lib")]
    while todo:
        path = todo.pop(0)
        todo += [f"{path}/{name}" for name in module.names(path)]
        file = module.open(path)
        if file is None:
            continue
        with file:
            try:
                library = elf.read(file, path)
            except NotALibraryError:
                continue
        name = library.soname or path.rpartition("/")[2]
        found.setdefault(name, library)
    return found


def _glibc_versions(library: SharedObject) -> Iterable[str]:
    return (
        version
        for file, versions in library.needed_versions.items()
        if is_glibc(file)
        for version in versions
    )


def _no_glibc(architecture: tuple[int, str], is_only: bool) -> Finding:
    bits, machine = architecture
    return Finding(
        "the image",
        f"has no glibc of {bits} bits for {machine.removeprefix('EM_').lower()}, as images of "
        "Alpine or for other processors: libraries of the node cannot run in it",
        is_error=is_only or bits == 64,
    )


def _needed_by(core: Iterable[str], own: dict[str, SharedObject]) -> set[str]:
    found, todo = set(), [name for name in core if name in own]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [other for other in own[name].needed if other in own]
    return found


def _versions(
    name: str, library: SharedObject, own: dict[str, SharedObject], there: ImageLibraries
) -> Iterable[Finding]:
    """Versions of symbols that no library of the image has."""
    for file, versions in sorted(library.needed_versions.items()):
        provider = own.get(file) or there.find(file)
        if provider is None:
            continue  # told as missing
        # glibc 2.34 took libpthread, libdl and librt in; then their versions are in libc.
        libc = there.find("libc.so.6") if is_glibc(file) else None
        provided = provider.versions | (libc.versions if libc else frozenset())
        absent = sorted(versions - provided, key=_order)
        if absent and provider.versions:
            best = _newest(provided, absent[-1].rpartition("_")[0])
            has = f"has {best} at most" if best else "lacks it"
            whose = "the module's own" if file in own else "the image's"
            yield Finding(name, f"needs {', '.join(absent)} of {file}; {whose} {has}", True)


def _missing(
    name: str,
    library: SharedObject,
    own: dict[str, SharedObject],
    there: ImageLibraries,
    *,
    is_error: bool,
) -> Iterable[Finding]:
    for file in library.needed:
        if "/" not in file and file not in own and there.find(file) is None:
            text = f"needs {file}, which is neither in the module nor in the image"
            yield Finding(name, text, is_error)


def _older(name: str, library: SharedObject, there: ImageLibraries) -> Iterable[Finding]:
    """Versions that programs of the image may need of a library that the module's one hides."""
    if not library.versions:
        return
    image_has = there.find(name)
    lost = sorted(image_has.versions - library.versions, key=_order) if image_has else []
    lost = [version for version in lost if _NUMBERED.match(version)]
    if lost:
        text = (
            f"lacks {', '.join(lost)}, which the image's own has: programs of the image that need "
            f"it fail; prepare the module with --leave-out {name}"
        )
        yield Finding(name, text, False)


def _newest(versions: Iterable[str], start: str) -> str | None:
    fitting = [version for version in versions if _start(version) == start]
    return max(fitting, key=_order, default=None)


def _start(version: str) -> str | None:
    found = _NUMBERED.match(version)
    return found[1] if found else None


def _order(version: str) -> tuple[str, list[int], str]:
    found = _NUMBERED.match(version)
    if not found:
        return version, [], version
    return found[1], [int(part) for part in found[2].split(".")], version
