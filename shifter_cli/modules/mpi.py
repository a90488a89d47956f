# SPDX-License-Identifier: BSD-3-Clause
"""An MPI of the node as a module: its libraries, what they need, and the plug-ins they load."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Iterable

from shifter_cli.modules.content import Content
from shifter_cli.modules.errors import PrepareError
from shifter_cli.modules.search import Library, Loader, standard_directories

_DIRECTORIES = ("", "lib64", "lib")


@dataclasses.dataclass(frozen=True)
class Flavour:
    """What tells one MPI from another."""

    name: str
    core: tuple[str, ...]  # by one of these names a program finds MPI
    libraries: tuple[str, ...]  # patterns of what is taken, the core included
    aliases: tuple[tuple[str, str], ...] = ()
    # Text files by the directory in the module: where they are, seen from the core, and a variable.
    texts: tuple[tuple[str, tuple[str, ...], str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Plugins:
    """Files that a library loads by itself, so that no other file names them."""

    owner: str  # how the name of the library starts
    places: tuple[str, ...]  # where they may be, seen from the library
    pattern: str
    directory: str  # in the module
    variable: str  # that tells the library where they are


FLAVOURS = {
    "mpich": Flavour(
        name="mpich",
        core=("libmpich.so.12", "libmpi.so.12"),
        libraries=("libmpich*.so.12", "libmpi.so.12", "libmpi[cf]*.so.12", "libmpi_*.so.12"),
        # What the MPICH ABI Compatibility Initiative agreed on, and what Debian calls the same.
        aliases=(
            ("libmpich.so.12", "libmpi.so.12"),
            ("libmpichcxx.so.12", "libmpicxx.so.12"),
            ("libmpichfort.so.12", "libmpifort.so.12"),
        ),
    ),
    "openmpi": Flavour(
        name="openmpi",
        core=("libmpi.so.40",),
        libraries=("libmpi.so.40", "libmpi_[!j]*.so.40", "liboshmem.so.40"),
        texts=(
            (
                *("etc", ("../etc", "../../etc/openmpi", "../../../etc/openmpi")),
                *("openmpi-mca-params.conf", "OPAL_SYSCONFDIR"),
            ),
            (
                *("share/openmpi", ("../share/openmpi", "../../share/openmpi")),
                *("*", "OPAL_PKGDATADIR"),
            ),
        ),
    ),
}

_PLUGINS = (
    Plugins("libucs.so.", ("ucx",), "libuc*.so*", "lib/ucx", "UCX_MODULE_DIR"),
    Plugins("libfabric.so.", ("libfabric",), "*-fi.so", "lib/libfabric", "FI_PROVIDER_PATH"),
    Plugins(
        "libopen-pal.so.",
        ("openmpi/lib/openmpi3", "openmpi/lib/openmpi", "openmpi3", "openmpi"),
        "mca_*.so",
        "lib/openmpi",
        "OPAL_PKGLIBDIR",
    ),
    Plugins("libpmix.so.", ("pmix",), "*mca_*.so", "lib/pmix", "PMIX_PKGLIBDIR"),
)
_VERBS = Plugins("libibverbs.so.", ("libibverbs",), "*-rdmav*.so", "lib", "IBV_DRIVERS")


def gather(
    flavour: Flavour,
    name: str,
    source: str,
    loader: Loader,
    *,
    leave: frozenset[str] = frozenset(),
    take: frozenset[str] = frozenset(),
) -> Content:
    """The module `name` of the MPI below the directory `source`."""
    core = find_core(flavour, source, loader)
    directory = os.path.dirname(core.path)
    roots = [core, *_others(flavour, core, directory, loader)]
    dependencies, missing = loader.closure(roots, leave, take)
    content = Content(name)
    content.core = {content.add_library(library) for library in _needed_by(core, roots, loader)}
    for library in (*roots, *dependencies):
        content.add_library(library)
    content.prepended["LD_LIBRARY_PATH"] = [content.inside("lib")]
    content.variables["SHIFTER_MPI"] = flavour.name
    _add_plugins(content, [*roots, *dependencies], loader, leave, take)
    for one, other in flavour.aliases:
        content.alias(one, other)
    for target, places, pattern, variable in flavour.texts:
        _add_texts(content, directory, target, places, pattern, variable, loader)
    content.notes += [f"{one.needed_by} needs {one.soname}, which is missing" for one in missing]
    content.conflicts = [other for other in FLAVOURS if other not in (flavour.name, name)]
    return content


def find_core(flavour: Flavour, source: str, loader: Loader) -> Library:
    """The library of MPI itself, in the directory that was named or in a lib directory below."""
    triplets = [path for path in standard_directories((64, f"EM_{_machine()}")) if "-" in path]
    below = [*_DIRECTORIES, *(path.removeprefix("/usr/") for path in triplets if "/usr" in path)]
    places = [os.path.join(source, place) if place else source for place in below]
    for place in places:
        for name in flavour.core:
            found = loader.library(os.path.join(place, name))
            if found is not None:
                return found
    raise PrepareError(
        f"there is no {' or '.join(flavour.core)} in {' or '.join(places)}: "
        f"give the directory of the node's {flavour.name} by --from"
    )


def _machine() -> str:
    return os.uname().machine.upper()


def _others(flavour: Flavour, core: Library, directory: str, loader: Loader) -> list[Library]:
    """Bindings for other languages, beside the core."""
    found = []
    for name in loader.tree.names(directory):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in flavour.libraries):
            library = loader.library(os.path.join(directory, name))
            if library is not None and library.path != core.path:
                found.append(library)
    return found


def _needed_by(core: Library, roots: list[Library], loader: Loader) -> list[Library]:
    nothing: frozenset[str] = frozenset()
    known = {library.path: library for library in roots}
    needed, _ = loader.closure([core], nothing, nothing)
    return [core, *(known.get(library.path, library) for library in needed)]


def _add_plugins(
    content: Content,
    libraries: list[Library],
    loader: Loader,
    leave: frozenset[str],
    take: frozenset[str],
) -> None:
    """Plug-ins and what they need, which may have plug-ins in turn."""
    todo, seen = list(libraries), {library.path for library in libraries}
    while todo:
        owner = todo.pop(0)
        found = [
            plugin
            for plugins in (*_PLUGINS, _VERBS)
            if any(name.startswith(plugins.owner) for name in owner.names)
            for plugin in _add_directory(content, owner, plugins, loader)
        ]
        needed, missing = loader.closure(found, leave, take)
        content.notes += [
            f"left to the image: {one.soname}, which {one.needed_by} needs and the node lacks"
            for one in missing
        ]
        for library in needed:
            content.add_library(library)
            if library.path not in seen:
                seen.add(library.path)
                todo.append(library)


def _add_directory(
    content: Content, owner: Library, plugins: Plugins, loader: Loader
) -> list[Library]:
    """The plug-ins of the first place that has any; files of other architectures stay."""
    for place in plugins.places:
        directory = os.path.normpath(os.path.join(os.path.dirname(owner.path), place))
        names = fnmatch.filter(loader.tree.names(directory), plugins.pattern)
        found = [loader.library(os.path.join(directory, name)) for name in names]
        fitting = [one for one in found if one and _fits(one, owner)]
        if not fitting:
            continue
        for library in fitting:
            content.add_library(library, plugins.directory)
        value = content.inside(plugins.directory)
        content.variables[plugins.variable] = value if plugins != _VERBS else _drivers(names)
        return fitting
    return []


def _fits(library: Library, owner: Library) -> bool:
    return library.content.architecture == owner.content.architecture


def _drivers(names: Iterable[str]) -> str:
    """libmlx5-rdmav34.so is the driver mlx5; libibverbs finds it by LD_LIBRARY_PATH if told so.

    Else it reads /etc/libibverbs.d, which an image seldom has.
    """
    return ":".join(sorted(name.removeprefix("lib").rpartition("-rdmav")[0] for name in names))


def _add_texts(
    content: Content,
    directory: str,
    target: str,
    places: tuple[str, ...],
    pattern: str,
    variable: str,
    loader: Loader,
) -> None:
    for place in places:
        source = os.path.normpath(os.path.join(directory, place))
        paths = [
            loader.tree.resolve(os.path.join(source, name))
            for name in fnmatch.filter(loader.tree.names(source), pattern)
        ]
        texts = [path for path in paths if path and _is_text(path)]
        if texts:
            for path in texts:
                content.add_file(path, target)
            content.variables[variable] = content.inside(target)
            return


def _is_text(path: str) -> bool:
    return path.endswith((".txt", ".conf", ".ini")) and not path.endswith("-wrapper-data.txt")
