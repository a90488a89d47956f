# SPDX-License-Identifier: BSD-3-Clause
"""Real shared objects, a few kilobytes each, that need and provide what a test wants."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path


def make_library(
    path: Path,
    *,
    soname: str | None = None,
    needs: Iterable[Path] = (),
    versions: Iterable[str] = (),
    uses: Mapping[str, Path] | None = None,
    runpath: str | None = None,
    rpath: str | None = None,
    bits: int = 64,
) -> Path:
    """Link `path`, a library of no code to speak of.

    `versions` are the symbol versions that it provides; `uses` are versions that it needs, with
    the library that provides them; `needs` are libraries that it merely names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    uses = uses or {}
    source, script = path.with_name(f"{path.name}.c"), path.with_name(f"{path.name}.map")
    calls = "".join(f" {_symbol(version)}();" for version in uses)
    declared = "".join(f"int {_symbol(version)}();\n" for version in uses)
    provided = "".join(f"int {_symbol(version)}() {{ return 0; }}\n" for version in versions)
    own = f"int own_{_symbol(path.name)}() {{{calls} return 0; }}\n"
    source.write_text(declared + provided + own)
    script.write_text("".join(f"{v} {{ global: {_symbol(v)}; }};\n" for v in versions))
    words: list[str | Path] = ["gcc", "-w", "-shared", "-fPIC", "-nostdlib", f"-m{bits}"]
    words += [source, "-o", path, f"-Wl,-soname,{soname or path.name}"]
    words += ["-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", *needs, *uses.values()]
    if list(versions):
        words.append(f"-Wl,--version-script={script}")
    if runpath:
        words.append(f"-Wl,--enable-new-dtags,-rpath,{runpath}")
    if rpath:
        words.append(f"-Wl,--disable-new-dtags,-rpath,{rpath}")
    subprocess.run(words, check=True)
    source.unlink()
    script.unlink()
    return path


def make_cache(root: Path) -> None:
    """Write etc/ld.so.cache of a tree, as ldconfig does for the system's."""
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/ld.so.conf").touch()
    subprocess.run(["/sbin/ldconfig", "-r", root], check=True)


def _symbol(version: str) -> str:
    return "needs_" + "".join(c if c.isalnum() else "_" for c in version)
