# SPDX-License-Identifier: BSD-3-Clause
"""A .deb, by dpkg-deb."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import textwrap
from pathlib import Path

from contents import Package, Release, fill, put, require

# What dpkg calls, when, and which step that is.
_SCRIPTS = {
    "postinst": (
        'if [ "$1" = configure ] && [ -z "$2" ]; then after_install first\n'
        'elif [ "$1" = configure ]; then after_install upgrade\nfi\n',
        "after_install",
    ),
    "prerm": ('if [ "$1" = remove ]; then before_remove; fi\n', "before_remove"),
    "postrm": (
        'if [ "$1" = remove ]; then {remove}\nelif [ "$1" = purge ]; then {purge}\nfi\n',
        "after_remove",
        "after_purge",
    ),
}


def require_tools() -> None:
    require("dpkg-deb", "dpkg")


def build(package: Package, release: Release, work: Path, into: Path) -> Path:
    root = Path(tempfile.mkdtemp(dir=work))
    root.chmod(0o755)
    put(package, root)
    control = root / "DEBIAN"
    control.mkdir()
    architecture = _architecture(package)
    (control / "control").write_text(_control(package, release, architecture, _size(root)))
    if package.configuration:
        (control / "conffiles").write_text("".join(f"{file}\n" for file in package.configuration))
    (control / "md5sums").write_text(_sums(package))
    _write_scripts(package, control)
    target = into / f"{package.name}_{release.version}-{release.revision}_{architecture}.deb"
    # One thread: how many there are is seen in what comes out.
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", "-Zzstd", "-z9", "--threads-max=1",
         str(root), str(target)],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return target


def _architecture(package: Package) -> str:
    if package.is_portable:
        return "all"
    done = subprocess.run(["dpkg", "--print-architecture"], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def _control(package: Package, release: Release, architecture: str, size: int) -> str:
    major, minor = release.python.split(".")
    python = f"python3 (>= {release.python}), python3 (<< {major}.{int(minor) + 1}~)"
    year, _, month = release.slurm.partition(".")
    plugins = "slurm-wlm-basic-plugins"
    words = {
        "version": f"{release.version}-{release.revision}",
        "python": python,
        "libc": f"libc6 (>= {release.libc})",
        "slurm": f"{plugins} (>= {release.slurm}), {plugins} (<< {year}.{int(month) + 1:02}~)"
        if month
        else "",
    }
    lines = [
        f"Package: {package.name}",
        f"Version: {words['version']}",
        f"Architecture: {architecture}",
        f"Maintainer: {release.maintainer}",
        f"Installed-Size: {size}",
    ]
    for field, entries in package.fields["deb"].items():
        filled = [text for entry in entries if (text := fill(entry, words))]
        if filled:
            lines.append(f"{field}: {', '.join(filled)}")
    lines += ["Section: admin", "Priority: optional", f"Description: {package.summary}"]
    lines += [f" {line}" for line in textwrap.wrap(package.description, 78)]
    return "\n".join(lines) + "\n"


def _size(root: Path) -> int:
    """In KiB, as if each name took one at least."""
    return sum(-(-path.lstat().st_size // 1024) or 1 for path in root.rglob("*"))


def _sums(package: Package) -> str:
    lines = []
    for file in package.files:
        path = package.tree / file[1:]
        if not path.is_symlink():
            lines.append(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {file[1:]}\n")
    return "".join(lines)


def _write_scripts(package: Package, control: Path) -> None:
    has = set(package.steps())
    for name, (call, *steps) in _SCRIPTS.items():
        if not has.intersection(steps):
            continue
        call = call.replace("{remove}", "after_remove" if "after_remove" in has else ":")
        call = call.replace("{purge}", "after_purge" if "after_purge" in has else ":")
        path = control / name
        path.write_text(f"#!/bin/sh\nset -e\n{package.script}\n{call}")
        path.chmod(0o755)
    os.utime(control)
