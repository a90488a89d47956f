# SPDX-License-Identifier: BSD-3-Clause
"""What the packages hold: packages.toml, held against the files that are there."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import email.parser
import os
import platform
import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SET_UID = "/usr/bin/shifter"
PLUGIN = "usr/lib64/shifter/shifter_slurm.so"
SCRIPT_STEPS = ("after_install", "before_remove", "after_remove", "after_purge")
_LICENSES = """\
{text}
----------------------------------------------------------------------------------------------
{package} also carries what others have made:

{table}
"""
_TEXTS = """
The text of each licence is in {site}, below NAME-VERSION.dist-info.
"""


class PackagingError(Exception):
    """A sentence for who builds packages."""


@dataclasses.dataclass(frozen=True)
class Release:
    """What all packages of one run have in common."""

    version: str
    revision: str
    maintainer: str
    python: str  # 3.11
    libc: str
    slurm: str  # 22.05 where the plugin is for the distribution's Slurm, else nothing

    @classmethod
    def of(cls, checkout: Path, tree: Path, arguments: argparse.Namespace) -> Release:
        libraries = list((tree / "usr/lib/shifter-client/lib").glob("python3.*"))
        if len(libraries) != 1:
            raise PackagingError(f"{tree} was not made by install --stage: remove it")
        slurm = ""
        if (tree / PLUGIN).exists() and not arguments.slurm:
            slurm = _slurm_release()
        return cls(
            version=_version(checkout),
            revision=arguments.revision,
            maintainer=_description(checkout / "packaging")["maintainer"],
            python=libraries[0].name.removeprefix("python"),
            libc=platform.libc_ver()[1],
            slurm=slurm,
        )


@dataclasses.dataclass(frozen=True)
class Package:
    """One package: what it says of itself, its files below `tree`, and what its scripts do."""

    name: str
    summary: str
    description: str
    fields: dict[str, dict[str, list[str]]]  # by format
    tree: Path
    files: tuple[str, ...]  # as they are to be installed, also links
    script: str  # shell functions, or nothing
    is_portable: bool  # of no particular kind of machine

    @property
    def directories(self) -> list[str]:
        """Those that only Shifter has, the outermost first."""
        found = {str(parent) for file in self.files for parent in Path(file).parents}
        return sorted(path for path in found if "shifter" in path)

    @property
    def configuration(self) -> list[str]:
        return [file for file in self.files if file.startswith("/etc/")]

    def steps(self) -> Iterator[str]:
        """The functions that the script has."""
        return (step for step in SCRIPT_STEPS if f"\n{step}()" in self.script)


def read(directory: Path, tree: Path, release: Release) -> list[Package]:
    """The packages that these files make. Each file must be in one."""
    packages = []
    owner: dict[str, str] = {}
    for name, fields in _description(directory).items():
        if not isinstance(fields, dict):
            continue
        files = sorted({file for pattern in fields["files"] for file in _matching(tree, pattern)})
        if not files:
            continue  # the plugin, or sshd, that nobody asked for
        _write_copyright(directory.parent / "LICENSE", tree, name, fields.get("carries", []))
        files.append(f"/usr/share/doc/{name}/copyright")
        for file in files:
            if file in owner:
                raise PackagingError(f"{file} is in {owner[file]} and in {name}: packages.toml")
            owner[file] = name
        script = directory / "scripts" / name
        packages.append(
            Package(
                name=name,
                summary=fields["summary"],
                description=fields["description"].strip(),
                fields={format: fields.get(format, {}) for format in ("deb", "rpm")},
                tree=tree,
                files=tuple(files),
                script=_without_comments(script) if script.exists() else "",
                is_portable=not any(_is_binary(tree / file[1:]) for file in files),
            )
        )
    forgotten = [file for file in _everything(tree) if file not in owner]
    if forgotten:
        raise PackagingError(f"{', '.join(forgotten[:5])}: in no package of packages.toml")
    _settle(tree)
    return packages


def source_date(checkout: Path) -> int:
    """When the sources were made, as reproducible builds ask for it."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    if (checkout / ".git").exists():
        done = subprocess.run(
            ["git", "-C", str(checkout), "log", "-1", "--format=%ct"],
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return int(done.stdout)
    return int((checkout / "CHANGELOG.md").stat().st_mtime)


def fill(text: str, words: dict[str, str]) -> str:
    """A dependency with its @word@s replaced; nothing where one of them is empty."""
    for word, value in words.items():
        if f"@{word}@" in text and not value:
            return ""
        text = text.replace(f"@{word}@", value)
    return text


def put(package: Package, root: Path) -> None:
    """The package's files below `root`, as links to those that are staged."""
    for file in package.files:
        target = root / file[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(package.tree / file[1:], target, follow_symlinks=False)
    for directory in sorted(root.rglob("*")):
        if directory.is_dir() and not directory.is_symlink():
            directory.chmod(0o755)


def _description(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "packages.toml").read_text())


def _version(checkout: Path) -> str:
    for node in ast.parse((checkout / "shifter_runtime/__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "VERSION":
            # A release to come is older than the release, for both kinds of packages.
            return re.sub(r"(?<=\d)\.?(dev|a|b|rc)", r"~\1", str(ast.literal_eval(node.value)))
    raise PackagingError("shifter_runtime/__init__.py has no VERSION")


def _slurm_release() -> str:
    source = "#include <slurm/spank.h>\nSLURM_VERSION_NUMBER\n"
    done = subprocess.run(
        ["gcc", "-E", "-P", "-"], input=source.encode(), capture_output=True, check=True
    )
    number = int(done.stdout.split()[-1], 16)
    return f"{number >> 16}.{number >> 8 & 255:02}"


def _matching(tree: Path, pattern: str) -> Iterator[str]:
    for path in tree.glob(pattern[1:]):
        if path.is_dir() and not path.is_symlink():
            yield from (f"/{path.relative_to(tree)}{file}" for file in _everything(path))
        else:
            yield f"/{path.relative_to(tree)}"


def _everything(tree: Path) -> Iterator[str]:
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield f"/{path.relative_to(tree)}"


def _is_binary(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _without_comments(script: Path) -> str:
    lines = script.read_text().splitlines(keepends=True)
    return "\n" + "".join(line for line in lines if not line.startswith("#")).lstrip()


def _write_copyright(license_file: Path, tree: Path, package: str, carried: list[str]) -> None:
    """Our licence, and what the package has besides our own."""
    text = license_file.read_text()
    sites = list(tree.glob(f"usr/lib/{package}/lib/python3.*/site-packages"))
    table = [*carried, *(line for site in sites for line in sorted(_licenses(site)))]
    if table:
        text = _LICENSES.format(text=text, package=package, table="\n".join(table))
    for site in sites:
        text += _TEXTS.format(site=f"/{site.relative_to(tree)}")
    target = tree / f"usr/share/doc/{package}/copyright"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _licenses(site: Path) -> Iterator[str]:
    for file in site.glob("*.dist-info/METADATA"):
        metadata = email.parser.HeaderParser().parsestr(file.read_text())
        classified = [
            line.rpartition(" :: ")[2]
            for line in metadata.get_all("Classifier", [])
            if line.startswith("License :: ")
        ]
        words = metadata.get("License-Expression") or ", ".join(classified)
        words = words or (metadata.get("License") or "unknown").partition("\n")[0]
        yield f"{metadata['Name']} {metadata['Version']}: {words}"


def _settle(tree: Path) -> None:
    """One time for all, and only the launcher set-uid; nobody but root may change anything."""
    when = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            is_launcher = f"/{path.relative_to(tree)}" == SET_UID
            if mode & 0o022 or (mode & 0o7000 and not is_launcher):
                raise PackagingError(f"{path} has mode {mode:o}")
        os.utime(path, (when, when), follow_symlinks=False)


def require(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise PackagingError(f"there is no {program} here: install {package}")
