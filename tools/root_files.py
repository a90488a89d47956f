# SPDX-License-Identifier: BSD-3-Clause
"""Write the table of SECURITY.md that names every file that runs as root, from the imports.

python3 tools/root_files.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECURITY = ROOT / "SECURITY.md"
LAUNCHER = "shifter_runtime/launcher/shifter.c"
PLUGIN = "slurm_spank"
_START = "<!-- written by tools/root_files.py -->\n"
_END = "<!-- end -->\n"

# Where root begins, and what each of these loads is for.
_ENTRIES = {
    "each launch": (
        *("shifter_runtime.entry", "shifter_runtime.main"),
        *("shifter_runtime.namespace", "shifter_runtime.plan"),
    ),
    "setupRoot, unsetupRoot": (
        *("shifter_runtime.job.setup_root", "shifter_runtime.job.unsetup_root"),
        "shifter_runtime.job.preparing",
    ),
    "shifter-prologue, shifter-epilogue": (
        *("shifter_runtime.job.batch.prologue", "shifter_runtime.job.batch.epilogue"),
    ),
}
_IN_SLURM = "slurmd, slurmstepd"
_ON_REQUEST = "where it is asked for"


def files() -> dict[str, tuple[int, str]]:
    """Path -> lines, and when it is loaded."""
    found = {LAUNCHER: (_lines(ROOT / LAUNCHER), "each launch")}
    for path in (ROOT / PLUGIN).glob("*.c"):
        found[str(path.relative_to(ROOT))] = (_lines(path), _IN_SLURM)
    seen: set[str] = set()
    for when, modules in _ENTRIES.items():
        waiting = [module for module in modules if _path(module)]
        while waiting:
            module = waiting.pop()
            if module in seen:
                continue
            seen.add(module)
            path = _path(module)
            assert path is not None
            found[str(path.relative_to(ROOT))] = (_lines(path), when)
            waiting += _imports(path)
    for path in sorted((ROOT / "shifter_runtime").rglob("*.py")):
        found.setdefault(str(path.relative_to(ROOT)), (_lines(path), _ON_REQUEST))
        for module in _imports(path):
            needed = _path(module)
            assert needed is not None
            found.setdefault(str(needed.relative_to(ROOT)), (_lines(needed), _ON_REQUEST))
    return {name: entry for name, entry in sorted(found.items()) if entry[0] > 2}


def table() -> str:
    """What stands between the marks."""
    entries = files()
    rows = "".join(f"| `{name}` | {lines} | {when} |\n" for name, (lines, when) in entries.items())
    sums = ", ".join(
        f"{sum(lines for lines, at in entries.values() if at == when)} {when}"
        for when in dict.fromkeys(at for _, at in entries.values())
    )
    total = sum(lines for lines, _ in entries.values())
    return f"| file | lines | loaded by |\n| --- | --- | --- |\n{rows}\n{total} lines: {sums}.\n"


def written(text: str) -> str:
    """The text of SECURITY.md with the table between its marks."""
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}{table()}{_END}{after}"


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _path(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(path: Path) -> list[str]:
    """Modules of ours that are loaded with this one: not those that a function asks for."""
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if _path(name) else node.module for name in names]
    return [name for name in found if name.startswith("shifter_") and _path(name)]


if __name__ == "__main__":
    SECURITY.write_text(written(SECURITY.read_text()))
