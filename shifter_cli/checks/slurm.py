# SPDX-License-Identifier: BSD-3-Clause
"""The Slurm plugin: is it there, for the Slurm that is here, and does plugstack.conf name it."""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

from shifter_cli.checks import Matter, content_of, ok, skipped, warning, wrong
from shifter_cli.modules.errors import NotALibraryError
from shifter_runtime import trust
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import UntrustedPathError

_PLUGIN = "lib64/shifter/shifter_slurm.so"
_FILE = "shifter_slurm.so"
_CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf")
_PATIENCE = 20  # seconds
_DEEPEST = 5  # files that include others


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of plugstack.conf that names a plugin."""

    path: str
    number: int
    need: str  # required or optional
    plugin: str
    arguments: tuple[str, ...]


def plugin(config: RuntimeConfig) -> Iterator[Matter]:
    path = os.path.join(config.udi_root_path, _PLUGIN)
    version, program = _slurm_version(path)
    is_installed = os.path.exists(path)
    if version is None and not is_installed:
        yield skipped("slurm", "there is no Slurm on this node, and no plugin is installed")
        return
    stack = _plugstack()
    if not is_installed and not (stack and _lines_for(stack)):
        yield warning(
            "plugin",
            f"Slurm {version} is here ({program}), and no plugin: sbatch and srun know no --image; "
            "./install --with-slurm makes it",
        )
        return
    if version is None:
        yield skipped("version", f"for which Slurm the plugin should be: {program}")
    else:
        yield ok("version", f"Slurm {version} ({program})")
    if is_installed:
        yield from _built_for(path, version)
        yield from _trusted(path)
    else:
        yield wrong("plugin", f"there is no {path}: run ./install --with-slurm")
    yield from _named(path, stack, config)


def _slurm_version(path: str) -> tuple[str | None, str]:
    """The release of the Slurm that is here, and the program that said so, or why none did."""
    prefix = content_of(os.path.join(os.path.dirname(path), "slurm_prefix")).strip()
    places = [f"{prefix}/bin", f"{prefix}/sbin"] if prefix else []
    for name in ("sinfo", "scontrol", "slurmd"):
        program = shutil.which(name, path=os.pathsep.join(places)) or shutil.which(name)
        if program is None:
            continue
        option = "-V" if name == "slurmd" else "--version"
        try:
            done = subprocess.run(
                [program, option], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=_PATIENCE, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            continue
        if found := re.search(r"(\d+\.\d+(?:\.\d+)?)", done.stdout):
            return found[1], program
    return None, "no sinfo, scontrol or slurmd was found"


def _built_for(path: str, version: str | None) -> Iterator[Matter]:
    from shifter_cli.modules import elf

    try:
        with open(path, "rb") as file:
            number = elf.number(file, path, "plugin_version")
    except (OSError, NotALibraryError) as error:
        yield wrong("plugin", f"{path} cannot be read: {error}: run ./install --with-slurm")
        return
    if number is None:
        yield wrong("plugin", f"{path} is no plugin of Slurm: run ./install --with-slurm")
        return
    built = f"{number >> 16 & 0xFF}.{number >> 8 & 0xFF:02}"
    here = None if version is None else ".".join(version.split(".")[:2])
    if here is None:
        yield ok("plugin", f"{path} is for Slurm {built}")
    elif _release(built) == _release(here):
        yield ok("plugin", f"{path} is for Slurm {built}, which is here")
    else:
        yield wrong(
            "plugin",
            f"{path} is for Slurm {built}, and {here} is here, which will not load it: run "
            "./install --with-slurm again, on each node",
        )


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _trusted(path: str) -> Iterator[Matter]:
    try:
        os.close(trust.open_untouchable(path))
    except UntrustedPathError as error:
        yield wrong("plugin", str(error))


def _named(path: str, stack: str | None, config: RuntimeConfig) -> Iterator[Matter]:
    if stack is None:
        yield skipped("plugstack", "there is no plugstack.conf that this node knows of")
        return
    lines = _lines_for(stack)
    if not lines:
        yield wrong("plugstack", f"{stack} does not name the plugin: add `required {path}` to it")
        return
    if len(lines) > 1:
        yield wrong("plugstack", f"{_place(lines[1])}: the plugin is named twice: remove one line")
    line = lines[0]
    if "/" in line.plugin and not _is_same(line.plugin, path):
        yield wrong("plugstack", f"{_place(line)} names {line.plugin}, not {path} of this Shifter")
    elif line.need == "optional":
        yield warning(
            "plugstack",
            f"{_place(line)}: optional: a job whose image does not exist is not refused; "
            "`required` would",
        )
    else:
        yield ok("plugstack", f"{_place(line)} names the plugin")
    yield from _arguments(line, config)


def _lines_for(stack: str) -> list[Line]:
    return [line for line in plugins_in(stack) if os.path.basename(line.plugin) == _FILE]


def _arguments(line: Line, config: RuntimeConfig) -> Iterator[Matter]:
    given = dict(argument.partition("=")[::2] for argument in line.arguments)
    named = given.get("shifter_config")
    if named and not _is_same(named, config.path):
        yield warning(
            "shifter_config", f"{_place(line)}: the plugin reads {named}, and this is {config.path}"
        )
    if given.get("enable_sshd", "0") in ("", "1"):
        yield from _sshd(config)


def _sshd(config: RuntimeConfig) -> Iterator[Matter]:
    if not config.opt_udi_image:
        yield wrong("sshd", "enable_sshd needs optUdiImage in udiRoot.conf, and it is not set")
        return
    program = os.path.join(config.opt_udi_image, "sbin/sshd")
    if os.path.exists(program):
        yield ok("sshd", f"{program} is there, for enable_sshd")
    else:
        yield wrong("sshd", f"there is no {program}: ./install --with-sshd makes it")


def _plugstack() -> str | None:
    known = [os.environ.get("SLURM_CONF"), *_CONFIGURATIONS]
    for path in known:
        if path and os.path.exists(path):
            text = content_of(path)
            # Slurm's keys are in any case.
            set_to = re.search(r"(?im)^[ \t]*PlugStackConfig[ \t]*=[ \t]*(\S+)", text)
            found = set_to[1] if set_to else os.path.join(os.path.dirname(path), "plugstack.conf")
            return found if os.path.exists(found) else None
    alone = [os.path.join(os.path.dirname(path), "plugstack.conf") for path in _CONFIGURATIONS]
    return next((path for path in alone if os.path.exists(path)), None)


def plugins_in(path: str, depth: int = 0) -> Iterator[Line]:
    """The plugins that a plugstack.conf names, and the files that it includes."""
    for number, text in enumerate(content_of(path).splitlines(), 1):
        words = text.partition("#")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "include":
            pattern = os.path.join(os.path.dirname(path), words[1])
            for included in sorted(glob.glob(pattern)) if depth < _DEEPEST else ():
                yield from plugins_in(included, depth + 1)
        else:
            yield Line(path, number, words[0], words[1], tuple(words[2:]))


def _place(line: Line) -> str:
    return f"{line.path}, line {line.number}"


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
