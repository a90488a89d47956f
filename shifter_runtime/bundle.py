# SPDX-License-Identifier: BSD-3-Clause
"""Every module of the runtime in one file, so that a launch opens one file instead of thirty.

`install` makes it beside the modules, of their sources, when it has put them in place; both are
exchanged for others in one step. Without it, or with another Python than it was made for, modules
are found as usual. What is in it: the interpreter's magic number, then marshal's dump of a dict
from a module's name to whether it is a package, and marshal's dump of its code.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

NAME = "shifter.bundle"


class _Finder:
    """Finder and loader (PEP 451) of the modules in a bundle."""

    def __init__(self, modules: dict[str, tuple[bool, bytes]]) -> None:
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
        exec(marshal.loads(self._modules[module.__name__][1]), module.__dict__)


def use(directory: str) -> None:
    """Find modules in the bundle in `directory` first, if there is one for this interpreter."""
    try:
        with open(f"{directory}/{NAME}", "rb") as file:
            content = file.read()
    except OSError:
        return
    if content.startswith(MAGIC_NUMBER):
        modules = marshal.loads(memoryview(content)[len(MAGIC_NUMBER) :])
        sys.meta_path.insert(0, _Finder(modules))


def make(directory: str, names: list[str], installed: str) -> None:
    """Make the bundle of `names`, paths of sources in `directory`, which `installed` will be."""
    modules = {}
    for path in names:
        with open(f"{directory}/{path}", "rb") as file:
            source = file.read()
        # Without the docstrings, which a launch would read for nothing.
        code = compile(source, f"{installed}/{path}", "exec", dont_inherit=True, optimize=2)
        is_package = path.endswith("/__init__.py")
        name = path.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
        modules[name] = (is_package, marshal.dumps(code))
    with open(f"{directory}/{NAME}", "wb") as file:
        file.write(MAGIC_NUMBER + marshal.dumps(modules))
