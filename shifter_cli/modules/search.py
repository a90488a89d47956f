# SPDX-License-Identifier: BSD-3-Clause
"""Which file the loader takes for a name, and all that a library needs beside it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence

from shifter_cli.modules import elf, ld_cache
from shifter_cli.modules.elf import SharedObject
from shifter_cli.modules.errors import NotALibraryError
from shifter_cli.modules.root_tree import RootTree

# Where loaders of the distributions look last, by what libraries must agree about.
_TRIPLETS = {
    (64, "EM_X86_64"): "x86_64-linux-gnu",
    (32, "EM_386"): "i386-linux-gnu",
    (64, "EM_AARCH64"): "aarch64-linux-gnu",
    (64, "EM_PPC64"): "powerpc64le-linux-gnu",
    (64, "EM_RISCV"): "riscv64-linux-gnu",
    (64, "EM_S390"): "s390x-linux-gnu",
}

# Parts of glibc: they fit the loader of the image and no other, so they are never taken along.
_GLIBC = frozenset(
    (
        *("libc.so.6", "libm.so.6", "libmvec.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"),
        *("libresolv.so.2", "libutil.so.1", "libanl.so.1", "libnsl.so.1", "libthread_db.so.1"),
        *("libBrokenLocale.so.1", "libc_malloc_debug.so.0", "libmemusage.so", "libpcprofile.so"),
    )
)
_GLIBC_STARTS = ("ld-linux", "ld64.so", "ld.so", "libnss_", "linux-vdso", "linux-gate")

# The compilers' own: an image brings those that its programs were built for. An older libstdc++ put
# before the image's would break every C++ program in it; a newer one may need a newer glibc.
_COMPILERS = (
    *("libgcc_s.so.", "libstdc++.so.", "libgfortran.so.", "libquadmath.so.", "libgomp.so."),
    *("libatomic.so.", "libasan.so.", "libubsan.so.", "libtsan.so.", "liblsan.so.", "libcrypt.so."),
)


def belongs_to_image(soname: str) -> bool:
    """Whether a library is the image's own affair, whatever of the node is put into it."""
    return is_glibc(soname) or soname.startswith(_COMPILERS)


def is_glibc(soname: str) -> bool:
    return soname in _GLIBC or soname.startswith(_GLIBC_STARTS)


def standard_directories(architecture: tuple[int, str]) -> list[str]:
    triplet = _TRIPLETS.get(architecture)
    wide = ["/lib64", "/usr/lib64"] if architecture[0] == 64 else []
    own = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
    return [*own, *wide, "/lib", "/usr/lib"]


@dataclasses.dataclass(frozen=True)
class Library:
    """A file of the node that is to be taken along, with every name that it goes by."""

    path: str  # in the node's tree, without links
    names: frozenset[str]
    content: SharedObject


@dataclasses.dataclass(frozen=True)
class Missing:
    """A library that another one needs and that the node does not have."""

    soname: str
    needed_by: str


class Loader:
    """Finds libraries as the loader of the node would; `directories` come before its cache."""

    def __init__(self, tree: RootTree, directories: Iterable[str] = ()) -> None:
        self.tree = tree
        self._directories = list(directories)
        self._known: dict[str, SharedObject | None] = {}
        self._cache: dict[str, list[str]] = {}
        cache = tree.open("/etc/ld.so.cache")
        if cache is not None:
            with cache:
                for name, path in ld_cache.parse(cache.read()):
                    self._cache.setdefault(name, []).append(path)

    def cached(self) -> dict[str, list[str]]:
        """Paths by name, as /etc/ld.so.cache has them."""
        return self._cache

    def read(self, path: str) -> SharedObject | None:
        """The shared object at a path, or None where there is none."""
        real = self.tree.resolve(path)
        if real is None:
            return None
        if real not in self._known:
            self._known[real] = self._read(real)
        return self._known[real]

    def _read(self, path: str) -> SharedObject | None:
        file = self.tree.open(path)
        if file is None:
            return None
        with file:
            try:
                return elf.read(file, path)
            except NotALibraryError:
                return None

    def library(self, path: str) -> Library | None:
        """The library that a path leads to, named as there, as its file and by itself."""
        real, content = self.tree.resolve(path), self.read(path)
        if real is None or content is None:
            return None
        names = {os.path.basename(path), os.path.basename(real)}
        # A name with a slash would lead out of the module.
        if content.soname and "/" not in content.soname:
            names.add(content.soname)
        return Library(real, frozenset(names), content)

    def find(self, soname: str, user: Library, above: Sequence[Library] = ()) -> Library | None:
        """What `user` gets for a name it needs; `above` are those that loaded it, nearest first."""
        if "/" in soname:
            return self.library(soname)
        for path in self._candidates(soname, user, above):
            found = self.library(path)
            if found is not None and found.content.architecture == user.content.architecture:
                return _also_named(found, soname)
        return None

    def _candidates(self, soname: str, user: Library, above: Sequence[Library]) -> Iterable[str]:
        """In the order of ld.so(8)."""
        for directory in (*_run_paths(user, above), *self._directories):
            yield os.path.join(directory, soname)
        yield from self._cache.get(soname, ())
        for directory in standard_directories(user.content.architecture):
            yield os.path.join(directory, soname)

    def closure(
        self, roots: Iterable[Library], leave: frozenset[str], take: frozenset[str]
    ) -> tuple[list[Library], list[Missing]]:
        """All that the roots need beside themselves and the image's own, and what is missing.

        Names in `leave` are not followed; those in `take` are, even if they are the image's.
        """
        found: dict[str, Library] = {}
        missing: dict[str, Missing] = {}
        todo: list[tuple[Library, tuple[Library, ...]]] = [(root, ()) for root in roots]
        while todo:
            user, above = todo.pop(0)
            for soname in user.content.needed:
                if soname in leave or is_glibc(soname):
                    continue
                if belongs_to_image(soname) and soname not in take:
                    continue
                library = self.find(soname, user, above)
                if library is None:
                    missing.setdefault(soname, Missing(soname, os.path.basename(user.path)))
                elif library.path in found:
                    found[library.path] = _also_named(found[library.path], *library.names)
                else:
                    found[library.path] = library
                    todo.append((library, (user, *above)))
        return list(found.values()), list(missing.values())


def _also_named(library: Library, *names: str) -> Library:
    return dataclasses.replace(library, names=library.names | frozenset(names))


def _run_paths(user: Library, above: Sequence[Library]) -> Iterable[str]:
    """A library with a DT_RUNPATH has that; others have the DT_RPATH of all that led to them."""
    if user.content.runpath:
        return _expanded(user, user.content.runpath)
    chain = [one for one in (user, *above) if not one.content.runpath]
    return [path for one in chain for path in _expanded(one, one.content.rpath)]


def _expanded(library: Library, directories: Iterable[str]) -> list[str]:
    """$ORIGIN is where the library is; the other words of ld.so(8) are not used for MPI."""
    origin = os.path.dirname(library.path)
    return [path.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for path in directories]
