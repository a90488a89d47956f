# SPDX-License-Identifier: BSD-3-Clause
"""Every module of the runtime in one file, so that a launch opens one file instead of thirty.

`install` makes it beside the modules, of their sources, when it has put them in place; both are
exchanged for others in one step. Without it, or with another Python than it was made for, modules
are found as usual. In it are the interpreter's magic number, the size of the index in eight bytes,
the index (marshal's dump of a dict from a module's name to whether it is a package, and to place
and size of its code) and marshal's dumps of the codes.
"""

from __future__ import annotations

import marshal
import posix  # what `os` is made of: that takes longer to load than all that is done here
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

NAME = "shifter.bundle"
_HEAD = len(MAGIC_NUMBER) + 8
_ENOUGH = 1 << 13  # bytes: head and index, as a rule


class _Finder:
    """Finder and loader (PEP 451) of the modules in the bundle that a descriptor is open on."""

    def __init__(self, fd: int, start: int, modules: dict[str, tuple[bool, int, int]]) -> None:
        self._fd = fd
        self._start = start  # of the codes in the file
        self._modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        found = self._modules.get(name)
        if found is None:
            return None
        # A loader by what it can, not by descent: that would cost importing its class.
        return ModuleSpec(name, self, is_package=found[0])  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None  # as usual

    def exec_module(self, module: ModuleType) -> None:
        _, place, size = self._modules[module.__name__]
        exec(marshal.loads(posix.pread(self._fd, size, self._start + place)), module.__dict__)


def use(directory: str) -> None:
    """Find modules in the bundle in `directory` first, if there is one for this interpreter."""
    try:
        fd = posix.open(f"{directory}/{NAME}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return
    head = posix.pread(fd, _ENOUGH, 0)
    if not head.startswith(MAGIC_NUMBER):
        posix.close(fd)
        return
    size = int.from_bytes(head[len(MAGIC_NUMBER) : _HEAD], "little")
    if _HEAD + size > len(head):
        head = posix.pread(fd, _HEAD + size, 0)
    sys.meta_path.insert(0, _Finder(fd, _HEAD + size, marshal.loads(head[_HEAD:])))


def make(directory: str, names: list[str], installed: str) -> None:
    """Make the bundle of `names`, paths of sources in `directory`, which `installed` will be."""
    modules = {}
    codes = b""
    for path in names:
        with open(f"{directory}/{path}", "rb") as file:
            source = file.read()
        # Without the docstrings, which a launch would read for nothing.
        code = compile(source, f"{installed}/{path}", "exec", dont_inherit=True, optimize=2)
        dump = marshal.dumps(code)
        is_package = path.endswith("/__init__.py")
        name = path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        modules[name] = (is_package, len(codes), len(dump))
        codes += dump
    index = marshal.dumps(modules)
    with open(f"{directory}/{NAME}", "wb") as file:
        file.write(MAGIC_NUMBER + len(index).to_bytes(8, "little") + index + codes)
