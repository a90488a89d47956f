# SPDX-License-Identifier: BSD-3-Clause
"""An .rpm, by rpmbuild, which may be Debian's."""

from __future__ import annotations

import platform
import stat
import subprocess
import tempfile
import textwrap
from pathlib import Path

from contents import Package, PackagingError, Release, fill, put, require

# Files as they are: nothing stripped, compiled or looked for in them; and no word of the builder.
_MACROS = {
    "debug_package": "%{nil}",
    "__os_install_post": "%{nil}",
    "_build_id_links": "none",
    "_buildhost": "localhost",
    "_binary_payload": "w9.zstdio",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "source_date_epoch_from_changelog": "0",
}
# What rpm calls, when, and which step that is. It tells how many releases will be there afterwards.
_SCRIPTS = {
    "post": (
        'if [ "$1" = 1 ]; then after_install first; else after_install upgrade; fi',
        "after_install",
    ),
    "preun": ('if [ "$1" = 0 ]; then before_remove; fi', "before_remove"),
    "postun": ('if [ "$1" = 0 ]; then after_remove; fi', "after_remove"),
}


def require_tools() -> None:
    require("rpmbuild", "rpm-build (Debian: rpm)")


def build(package: Package, release: Release, work: Path, into: Path) -> Path:
    directory = Path(tempfile.mkdtemp(dir=work))
    put(package, directory / "files")
    spec = directory / f"{package.name}.spec"
    spec.write_text(_spec(package, release, directory / "files"))
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--buildroot", str(directory / "root"),
         "--define", f"_topdir {directory / 'top'}", str(spec)],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    (made,) = (directory / "top/RPMS").rglob("*.rpm")
    target = into / made.name
    target.write_bytes(made.read_bytes())
    return target


def _spec(package: Package, release: Release, files: Path) -> str:
    words = {
        "version": f"{release.version}-{release.revision}",
        "python": f"python(abi) = {release.python}",
        "libc": f"libc.so.6(GLIBC_{release.libc})(64bit)",
        "slurm": f"slurm >= {release.slurm}, slurm < {_following(release.slurm)}"
        if release.slurm
        else "",
    }
    architecture = "noarch" if package.is_portable else platform.machine()
    lines = [
        *(f"%global {name} {value}" for name, value in _MACROS.items()),
        f"Name: {package.name}",
        f"Version: {release.version}",
        f"Release: {release.revision}",
        f"Summary: {package.summary}",
        "License: BSD-3-Clause",
        "Group: System Environment/Base",
        f"BuildArch: {architecture}",
        "AutoReqProv: no",
    ]
    for field, entries in package.fields["rpm"].items():
        lines += [f"{field}: {text}" for entry in entries if (text := fill(entry, words))]
    lines += ["", "%description", *textwrap.wrap(package.description, 78), ""]
    # Links, not copies, where they can be.
    lines += ["%install", f"mkdir -p %{{buildroot}} && cp -a '{files}/.' %{{buildroot}}/", ""]
    has = set(package.steps())
    for name, (call, step) in _SCRIPTS.items():
        if step in has:
            lines += [f"%{name}", package.script.strip(), call, ""]
    lines += ["%files", "%defattr(-,root,root,0755)"]
    lines += [f'%dir "{directory}"' for directory in package.directories]
    lines += [_file(package, file) for file in package.files]
    return "\n".join(lines) + "\n"


def _following(release: str) -> str:
    year, _, month = release.partition(".")
    return f"{year}.{int(month) + 1:02}"


def _file(package: Package, file: str) -> str:
    if any(character in file for character in "\"'*?[{%") or file.split() != [file]:
        raise PackagingError(f"rpm cannot be told of the name {file!r}")
    path = package.tree / file[1:]
    words = ""
    if not path.is_symlink():
        words = f"%attr({stat.S_IMODE(path.stat().st_mode):04o},root,root) "
    if file in package.configuration:
        words += "%config(noreplace) "
    return words + file
