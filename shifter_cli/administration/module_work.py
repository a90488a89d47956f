# SPDX-License-Identifier: BSD-3-Clause
"""What `shifter-admin module` does: from words typed to a directory made, or one checked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shifter_cli.errors import SettingsError
from shifter_cli.modules.errors import CheckError, PrepareError
from shifter_common.errors import ShifterError
from shifter_runtime import config as configs

if TYPE_CHECKING:
    from shifter_cli.modules.content import Content
    from shifter_cli.modules.fitting import Verdict
    from shifter_cli.modules.image_files import Files
    from shifter_cli.modules.root_tree import RootTree
    from shifter_cli.modules.search import Loader

GPU = "gpu"
KINDS = ("mpich", "openmpi", GPU)

# Libraries that all else in a module is there for.
_CORE = ("libmpich.so.", "libmpi.so.", "libcuda.so.", "libhsa-runtime64.so.")

LoadConfig = Callable[[], configs.RuntimeConfig]


@dataclasses.dataclass(frozen=True)
class Wish:
    """What was typed after `module prepare`."""

    kind: str
    source: str
    name: str | None = None
    into: Path | None = None
    root: str = "/"
    leave_out: tuple[str, ...] = ()
    take: tuple[str, ...] = ()
    replace: bool = False


@dataclasses.dataclass(frozen=True)
class Made:
    """A module that was prepared; `lines` are for udiRoot.conf."""

    path: Path
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    files: dict[str, str]
    links: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "lines": list(self.lines),
            "notes": list(self.notes),
            "files": self.files,
            "links": self.links,
        }


def prepare(wish: Wish, load: LoadConfig) -> Made:
    """Make the directory and say what belongs into udiRoot.conf."""
    from shifter_cli.modules import tree
    from shifter_cli.modules.root_tree import RootTree
    from shifter_cli.modules.search import Loader, is_glibc

    name = wish.name or wish.kind
    if not configs.is_module_name(name) or "_" in name:
        raise PrepareError(
            f"a module cannot be called {name!r}: use letters, digits and .+-, and not 'none'"
        )
    for soname in filter(is_glibc, wish.take):
        raise PrepareError(f"{soname} belongs to glibc, which is always the image's own")
    into = _into(wish, load)
    node = RootTree(wish.root)
    source = os.path.abspath(wish.source) if node.root == "/" else "/" + wish.source.lstrip("/")
    if node.resolve(source) is None:
        raise PrepareError(f"there is no {node.outside(source)}")
    loader = Loader(node, [source])
    content = _gather(wish, name, source, loader)
    content.conflicts = _known_conflicts(content.conflicts, load)
    path = tree.write(content, node, into, replace=wish.replace)
    notes = [*content.notes, *_doubts(path), _summary(content, path)]
    if wish.kind == GPU:
        notes.append(_devices(loader, node))
    return Made(path, tuple(content.lines(str(path))), tuple(notes), content.files, content.links)


def directory_of(module: str, load: LoadConfig) -> Path:
    """The copyPath of a module of udiRoot.conf, or the directory that was typed."""
    if "/" in module:
        return Path(module)
    offered = load().modules
    if module not in offered:
        raise CheckError(
            f"udiRoot.conf has no module {module!r}, only {', '.join(sorted(offered)) or 'none'}; "
            f"write ./{module} for a directory"
        )
    paths = offered[module].get("copyPath", [])
    if not paths or not paths[-1]:
        raise CheckError(f"module {module!r} has no copyPath, so it has no libraries to check")
    return Path(paths[-1])


def running_image(image: str, user: str | None, config: configs.RuntimeConfig) -> Files:
    from shifter_cli.modules.image_files import RunningImage

    return RunningImage(os.path.join(config.udi_root_path, "bin/shifter"), image, user)


def unpacked_image(directory: str) -> Files:
    from shifter_cli.modules.root_tree import RootTree

    return RootTree(directory)


def check(directory: Path, image: Files) -> Verdict:
    """Hold a module against an image."""
    from shifter_cli.modules import fitting
    from shifter_cli.modules.root_tree import RootTree

    module = RootTree(str(directory))
    names = fitting.libraries_of(module)
    return fitting.check(module, image, frozenset(n for n in names if n.startswith(_CORE)))


def _gather(wish: Wish, name: str, source: str, loader: Loader) -> Content:
    leave, take = frozenset(wish.leave_out), frozenset(wish.take)
    if wish.kind == GPU:
        from shifter_cli.modules import gpu

        return gpu.gather(name, source, loader, leave=leave, take=take)
    from shifter_cli.modules import mpi

    flavour = mpi.FLAVOURS[wish.kind]
    return mpi.gather(flavour, name, source, loader, leave=leave, take=take)


def _into(wish: Wish, load: LoadConfig) -> Path:
    if wish.into is not None:
        into = Path(os.path.abspath(wish.into))
    else:
        try:
            into = _modules_of(Path(load().udi_root_path))
        except ShifterError as error:
            raise SettingsError(f"{error}; or say by --into where the module goes") from error
    if any(character.isspace() for character in str(into)):
        raise PrepareError(f"udiRoot.conf cannot hold a path with white space: {str(into)!r}")
    return into


def _modules_of(installed: Path) -> Path:
    """Where modules are made; /usr is the packages', and nothing made here belongs there."""
    return (Path("/opt/shifter") if installed == Path("/usr") else installed) / "modules"


def _known_conflicts(names: list[str], load: LoadConfig) -> list[str]:
    """Those that the site offers; all where there is no udiRoot.conf to look into."""
    try:
        offered = load().modules
    except ShifterError:
        return names
    return [name for name in names if name in offered]


def _doubts(path: Path) -> list[str]:
    from shifter_cli.modules import tree

    return [
        f"{doubt}: the runtime will refuse {path} until that is corrected"
        for doubt in tree.doubts(path)
    ]


def _summary(content: Content, path: Path) -> str:
    size = sum(file.stat().st_size for file in path.rglob("*") if not file.is_symlink())
    return f"{path}: {len(content.files)} files, {size / 1e6:.0f} MB"


def _devices(loader: Loader, node: RootTree) -> str:
    from shifter_cli.modules import gpu

    found = gpu.devices(loader)
    return f"device nodes in {node.outside('/dev')}: {', '.join(found) or 'none'}"
