# SPDX-License-Identifier: BSD-3-Clause
"""What the Python programs of Shifter can say when something is wrong, read from their source.

A *sink* is a place whose text a person reads: an exception of ours that is made, or a call that
writes to standard error. A text is followed back from there: through variables, constants and
conditions, into the functions that return it, and to the callers of those that take it.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOLE = "…"
_MOST_SPELLINGS = 12  # of one text with conditions in it; beyond, what varies is a hole

_ROOTS_OF_ERRORS = {"ShifterError", "Exception"}
_CLICK_ERRORS = {"UsageError", "ClickException", "BadParameter", "BadOptionUsage", "FileError"}
_BUILT_IN = {"EOFError", "TimeoutError", "TooSlowError", "ValueError"}
# Functions that show or keep one of their arguments: name -> which one, and the folder to be in.
_SPEAKING = {
    "complain": (0, ""),
    "say": (0, "shifter_runtime"),
    "_say": (0, "shifter_runtime"),
    "exit": (0, ""),
    "SystemExit": (0, ""),
    "failing": (0, ""),  # an exception that the caller has chosen
    "kind": (0, ""),
    "fail": (1, "shifter_imagegw"),
    "_fail": (1, "shifter_imagegw"),
    "OSError": (1, ""),
    "FileNotFoundError": (1, ""),
}
_LISTS = {"notes"}  # attributes that gather what will be shown
_FIELDS = {"error", "status_message"}  # of a document or an answer
# Functions that make nothing but sentences: where the module is, name or "*".
_SENTENCES = {
    ("shifter_runtime/config_findings.py", "*"),
    ("shifter_runtime/job/differences.py", "*"),
    ("shifter_imagegw/commands/config_check.py", "doubts"),
    ("shifter_imagegw/operation/readiness.py", "_lateness"),
    ("shifter_cli/", "_doubts"),
    ("shifter_cli/", "_doubt"),
    ("shifter_runtime/config.py", "_lacking"),
}
# Tables of sentences, and functions that look one up.
_TABLES = {
    ("shifter_imagegw/api/broken_request.py", "_REFUSALS"),
    ("shifter_imagegw/api/application.py", "texts"),
}
_SEEN_THROUGH = {"encode", "strip", "rstrip", "removesuffix", "removeprefix"}  # of str
_SHELL = {"shifter_imagegw/delivery/remote_scripts.py"}  # scripts, which echo what is wrong


@dataclass
class _Function:
    """A function, and which of its parameters reach a sink."""

    module: _Module
    node: ast.FunctionDef
    sinks: set[str] = field(default_factory=set)
    is_source: bool = False

    def parameters(self) -> list[str]:
        arguments = self.node.args
        return [each.arg for each in (*arguments.posonlyargs, *arguments.args)]

    def takes(self, name: str) -> bool:
        arguments = self.node.args
        return name in {
            each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        }

    @property
    def is_method(self) -> bool:
        return self.parameters()[:1] in (["self"], ["cls"])


@dataclass
class _Module:
    name: str  # path below the root
    tree: ast.Module
    functions: dict[str, list[_Function]] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)  # -> module, name in it


def messages(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """Each text, with a hole for what is known only when it is said; and where it is said."""
    return _Reader(root, packages).read()


class _Reader:
    def __init__(self, root: Path, packages: tuple[str, ...]) -> None:
        self._modules: dict[str, _Module] = {}
        for package in packages:
            for path in sorted((root / package).rglob("*.py")):
                name = path.relative_to(root).as_posix()
                self._modules[name] = _read_module(name, path.read_text())
        self._by_name: dict[str, list[_Function]] = {}
        for module in self._modules.values():
            for name, functions in module.functions.items():
                self._by_name.setdefault(name, []).extend(functions)
        self._errors = _error_classes(self._modules.values())
        self._found: dict[str, set[str]] = {}
        self._open: set[tuple[int, str]] = set()  # variables that are being followed
        self._changed = True

    def read(self) -> dict[str, set[str]]:
        # A function that turns out to be a sink has callers that were passed by already.
        while self._changed:
            self._changed = False
            self._found = {}
            for module in self._modules.values():
                self._visit(module, module.tree, None)
        return self._found

    def _visit(self, module: _Module, node: ast.AST, inside: _Function | None) -> None:
        for child in ast.iter_child_nodes(node):
            within = inside
            if isinstance(child, ast.FunctionDef):
                within = next(f for f in module.functions[child.name] if f.node is child)
            elif isinstance(child, ast.Call):
                for text in self._spoken(module, child, within):
                    self._take(module, text, within)
            else:
                for text in self._kept(module, child, within):
                    self._take(module, text, within)
            self._visit(module, child, within)

    def _kept(self, module: _Module, node: ast.AST, inside: _Function | None) -> Iterator[ast.expr]:
        """What is put where a person will read it, without a call."""
        match node:
            case ast.Yield(value=ast.expr() as value) | ast.Return(value=ast.expr() as value):
                if inside is not None and self._is_sentence(module, inside):
                    yield value
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in _FIELDS:
                        yield value
            case ast.Assign(
                targets=[ast.Subscript(slice=ast.Constant(value=str() as name))], value=value
            ) if name in _FIELDS:
                yield value
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                | ast.Assign(targets=[ast.Name(id=name)], value=value)
            ) if (module.name, name) in _TABLES:
                yield from _texts_in(value)
            case ast.AugAssign(target=ast.Attribute(attr=name), value=value) if name in _LISTS:
                yield value
            case ast.Constant(value=str() as script) if module.name in _SHELL:
                for text in re.findall(r"echo '([^']+)'", script):
                    yield ast.Constant(text, lineno=node.lineno)

    def _is_sentence(self, module: _Module, function: _Function) -> bool:
        listed = any(
            module.name.startswith(place) and name in ("*", function.node.name)
            for place, name in _SENTENCES
        )
        return listed or function.is_source

    def _spoken(
        self, module: _Module, call: ast.Call, inside: _Function | None
    ) -> Iterator[ast.expr]:
        """The arguments of a call that a person will read."""
        name = _last_name(call.func)
        if name in self._errors | _CLICK_ERRORS | _BUILT_IN:
            yield from call.args[:1]
        elif name == "__init__" and inside is not None and _is_super(call.func):
            if inside.node in self._errors_initializers(module):
                yield from call.args[:1]
        elif name == "Finding":
            yield from call.args
        elif name == "write" and call.args and ast.unparse(call.args[0]) in ("2", "sys.stderr"):
            yield from call.args[1:2]
        elif name == "append" and isinstance(call.func, ast.Attribute):
            if _last_name(call.func.value) in _LISTS:
                yield from call.args
        elif name in _SPEAKING:
            index, folder = _SPEAKING[name]
            if module.name.startswith(folder):
                # `say(program, text)` of the programs that batch systems run
                index = 1 if name == "say" and len(call.args) > 1 else index
                yield from call.args[index : index + 1]
        for function in self._called(module, call):
            for parameter, argument in _bound(function, call):
                if parameter in function.sinks:
                    yield argument

    def _errors_initializers(self, module: _Module) -> list[ast.FunctionDef]:
        return [
            function
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ClassDef) and node.name in self._errors
            for function in node.body
            if isinstance(function, ast.FunctionDef)
        ]

    def _called(self, module: _Module, call: ast.Call) -> list[_Function]:
        """The functions of ours that a call may mean."""
        name = _last_name(call.func)
        if isinstance(call.func, ast.Name):
            if name in module.functions:
                return module.functions[name]
            return self._imported(module, name)
        if isinstance(call.func, ast.Attribute):
            if isinstance(call.func.value, ast.Name):
                owner = call.func.value.id
                if owner in ("log", "_log", "logging"):
                    return []
                if owner in ("self", "cls") and name in module.functions:
                    return module.functions[name]
                if owner in module.imports:
                    return self._in_module(".".join(module.imports[owner]), name)
            # Of an object that nobody knows: a class beside it, or the only one that has this.
            near = [each for each in module.functions.get(name, []) if each.is_method]
            found = self._by_name.get(name, [])
            return near or (found if len(found) == 1 and found[0].is_method else [])
        return []

    def _imported(self, module: _Module, name: str) -> list[_Function]:
        if name not in module.imports:
            return []
        source, original = module.imports[name]
        return self._in_module(source, original)

    def _in_module(self, dotted: str, name: str) -> list[_Function]:
        place = dotted.strip(".").replace(".", "/")
        for path in (f"{place}.py", f"{place}/__init__.py"):
            if path in self._modules:
                module = self._modules[path]
                return module.functions.get(name) or self._imported(module, name)
        return []

    def _take(self, module: _Module, text: ast.expr, inside: _Function | None) -> None:
        for spelling in self._spellings(module, text, inside):
            self._note(module, text, spelling)

    def _note(self, module: _Module, where: ast.expr, spelling: str) -> None:
        text = canonical(spelling)
        if says_something(text):
            self._found.setdefault(text, set()).add(f"{module.name}:{where.lineno}")

    def _spellings(
        self, module: _Module, text: ast.expr, inside: _Function | None, depth: int = 0
    ) -> list[str]:
        """What a text can be. What it is made of elsewhere becomes a text of its own."""
        if depth > 8:
            return [HOLE]
        again = lambda part: self._spellings(module, part, inside, depth + 1)  # noqa: E731
        match text:
            case ast.Constant(value=str() as value):
                return [value]
            case ast.Constant(value=bytes() as raw):
                return [raw.decode()]
            case ast.JoinedStr(values=values):
                return _joined([self._part(module, part, inside, depth) for part in values])
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return _joined([again(left), again(right)])
            case ast.IfExp(body=body, orelse=orelse):
                return [*again(body), *again(orelse)]
            case ast.BoolOp(values=values):
                return [each for value in values for each in again(value)]
            case ast.Name(id=name):
                return self._named(module, name, inside, depth)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._take(module, element, inside)
                return [HOLE]
            case ast.Subscript(value=ast.Name(id=name)) if name in module.constants:
                return self._values(module, name, depth)
            case ast.Call():
                return self._returned(module, text, inside, depth)
            case ast.Await(value=value) | ast.Starred(value=value):
                return again(value)
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                self._take(module, element, inside)
        return [HOLE]

    def _part(
        self, module: _Module, part: ast.expr, inside: _Function | None, depth: int
    ) -> list[str]:
        """A piece of an f-string: short words stay in it, sentences stand for themselves."""
        if not isinstance(part, ast.FormattedValue):
            return self._spellings(module, part, inside, depth)
        if part.conversion != -1:
            return [HOLE]
        found = self._spellings(module, part.value, inside, depth + 1)
        return found if len(found) <= 4 else self._apart(module, part, found)

    def _apart(self, module: _Module, part: ast.expr, found: list[str]) -> list[str]:
        for text in found:
            self._note(module, part, text)
        return [HOLE]

    def _named(self, module: _Module, name: str, inside: _Function | None, depth: int) -> list[str]:
        if inside is not None:
            if inside.takes(name):
                if name not in inside.sinks:
                    inside.sinks.add(name)
                    self._changed = True
                assigned = _assigned(inside.node, name)
                if not assigned:
                    return [HOLE]
            else:
                assigned = _assigned(inside.node, name)
            followed = (id(inside), name)
            if followed in self._open:  # made of what it was before
                return [HOLE]
            if assigned:
                self._open.add(followed)
                found = [
                    spelling
                    for value in assigned
                    for spelling in self._spellings(module, value, inside, depth + 1)
                ]
                self._open.remove(followed)
                return list(dict.fromkeys(found))[:_MOST_SPELLINGS] or [HOLE]
        if name in module.constants:
            return self._spellings(module, module.constants[name], None, depth + 1)
        if name in module.imports:
            source, original = module.imports[name]
            other = self._modules.get(source.replace(".", "/") + ".py")
            if other is not None and original in other.constants:
                return self._spellings(other, other.constants[original], None, depth + 1)
        return [HOLE]

    def _values(self, module: _Module, name: str, depth: int) -> list[str]:
        """The texts in a table of a module."""
        table = module.constants.get(name)
        found: list[str] = []
        for value in table.values if isinstance(table, ast.Dict) else []:
            if isinstance(value, ast.Call) and _last_name(value.func) == "fromkeys":
                value = value.args[1]
            found += self._spellings(module, value, None, depth + 1)
        return list(dict.fromkeys(found)) or [HOLE]

    def _returned(
        self, module: _Module, call: ast.Call, inside: _Function | None, depth: int
    ) -> list[str]:
        """A call in a text: a method of str is seen through, a function of ours says its own."""
        name = _last_name(call.func)
        if name == "get" and isinstance(call.func, ast.Attribute):
            owner = _last_name(call.func.value)
            fallback = self._spellings(module, call.args[-1], inside, depth + 1)
            return self._values(module, owner, depth) + (fallback if len(call.args) > 1 else [])
        if name in _SEEN_THROUGH and isinstance(call.func, ast.Attribute):
            return self._spellings(module, call.func.value, inside, depth + 1)
        if name in ("fsencode", "str", "printable", "dedent") and call.args:
            return self._spellings(module, call.args[0], inside, depth + 1)
        if name == "join" and call.args:
            self._spellings(module, call.args[0], inside, depth + 1)
            return [HOLE]
        for function in self._called(module, call):
            if not function.is_source and _returns_text(function.node):
                function.is_source = True
                self._changed = True
        return [HOLE]


def _read_module(name: str, text: str) -> _Module:
    module = _Module(name, ast.parse(text))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef):
            module.functions.setdefault(node.name, []).append(_Function(module, node))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (alias.name, "")
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            module.constants[node.target.id] = node.value
    return module


def _error_classes(modules: object) -> set[str]:
    """The exceptions of ours, by name."""
    bases = {
        node.name: {_last_name(base) for base in node.bases}
        for module in modules  # type: ignore[attr-defined]
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    found = set(_ROOTS_OF_ERRORS)
    while more := {name for name, own in bases.items() if own & found} - found:
        found |= more
    return found


@functools.cache
def _assigned(function: ast.FunctionDef, name: str) -> list[ast.expr]:
    found: list[ast.expr] = []
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                found.append(value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for one, value in zip(targets, values, strict=False):
                    if isinstance(one, ast.Name) and one.id == name:
                        found.append(value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value):
                if target == name:
                    found.append(value)
            case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
                found.append(value)
            case ast.NamedExpr(target=ast.Name(id=target), value=value) if target == name:
                found.append(value)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=target), attr="append"), args=[value]
            ) if target == name:
                found.append(value)
    return found


def _texts_in(table: ast.expr) -> Iterator[ast.expr]:
    """The values of a dict, or the last of each tuple in one."""
    if isinstance(table, ast.Dict):
        yield from table.values
    elif isinstance(table, ast.Tuple):
        yield from (row.elts[-1] for row in table.elts if isinstance(row, ast.Tuple))


def _bound(function: _Function, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    names = function.parameters()
    if function.is_method and isinstance(call.func, ast.Attribute):
        names = names[1:]
    yield from zip(names, call.args, strict=False)
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value


def _joined(parts: list[list[str]]) -> list[str]:
    count = 1
    for index, part in enumerate(parts):
        if count * len(part) > _MOST_SPELLINGS:
            parts[index] = [HOLE]
        count *= len(parts[index])
    return ["".join(combination) for combination in itertools.product(*parts)]


def _returns_text(function: ast.FunctionDef) -> bool:
    return function.returns is not None and "str" in ast.unparse(function.returns)


def _last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


def _is_super(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Attribute) and "super()" in ast.unparse(expression.value)


def canonical(text: str) -> str:
    """As the page spells it: in one line, without the program's name in front."""
    text = re.sub(rf"%[.\d]*[sdru]|({HOLE}\s*)+{HOLE}", HOLE, " ".join(text.split()))
    return re.sub(r"^(shifter|Error): ", "", text)


def says_something(text: str) -> bool:
    """Whether there are words of ours in it, and not only what it is put together of."""
    words = re.findall(r"[A-Za-z]{2,}", text)
    if HOLE in text:
        return " " in text and (len(words) >= 2 or (bool(words) and ": " in text))
    return " " in text and len(words) >= 3
