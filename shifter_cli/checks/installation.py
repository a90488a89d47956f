# SPDX-License-Identifier: BSD-3-Clause
"""udiRoot.conf, the programs that it names, and the directories that launches use."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator

from shifter_cli.administration import config_check
from shifter_cli.checks import Matter, ok, skipped, warning, wrong
from shifter_common.errors import ShifterError
from shifter_runtime import trust
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import UntrustedPathError

_PATIENCE = 30  # seconds for `shifter --version`
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def configuration(path: str) -> Iterator[Matter]:
    """What `config check` finds."""
    try:
        report = config_check.check(path)
    except ShifterError as error:
        yield wrong("file", str(error))
        return
    for finding in report.findings:
        # Its own words, without the file's name, which stands above.
        place = f"line {finding.line}: " if finding.line else ""
        make = wrong if finding.is_error else warning
        yield make(finding.key or "file", f"{place}{finding.text}")
    if report.is_good:
        yield ok("file", f"{path}: {len(report.settings)} settings, understood")


def installation(config: RuntimeConfig) -> Iterator[Matter]:
    if not os.path.isdir(config.udi_root_path):
        yield skipped("programs", f"udiRootPath, {config.udi_root_path}, is not there")
        return
    yield from _launcher(os.path.join(config.udi_root_path, "bin/shifter"))
    for name in ("sbin/setupRoot", "sbin/unsetupRoot"):
        yield from _program(os.path.join(config.udi_root_path, name), name)
    for key, path in (("udiMount", config.udi_mount), ("loopMount", config.loop_mount)):
        yield from _mount_point(key, path)
    yield from _images(config.image_path)


def _launcher(path: str) -> Iterator[Matter]:
    problems = list(_program(path, "launcher"))
    if problems[0].state != "ok":
        yield from problems
        return
    found = os.stat(path)
    if not found.st_mode & stat.S_ISUID:
        yield wrong("launcher", f"{path} is not set-uid root: install Shifter again")
    elif os.statvfs(path).f_flag & os.ST_NOSUID:
        yield wrong(
            "launcher",
            f"{path} lies on a filesystem mounted nosuid: mount it without, or install elsewhere",
        )
    elif not found.st_mode & stat.S_IXOTH:
        yield wrong("launcher", f"{path} may not be started by users: chmod 4755 it")
    else:
        yield from _answering(path)


def _answering(path: str) -> Iterator[Matter]:
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env=_ENVIRONMENT, cwd="/", timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        yield wrong("launcher", f"{path} cannot be started: {error}")
        return
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        yield wrong("launcher", f"{path} does not start: {lines[-1]}")
    else:
        yield ok("launcher", f"{path} is set-uid root; {done.stdout.strip()}")


def _program(path: str, name: str) -> Iterator[Matter]:
    try:
        os.close(trust.open_untouchable(path))
    except UntrustedPathError as error:
        if isinstance(error.__cause__, PermissionError):
            yield skipped(name, f"only root can look at {path}")
        elif isinstance(error.__cause__, FileNotFoundError):
            yield wrong(name, f"there is no {path}: install Shifter on this node")
        else:
            yield wrong(name, str(error))
        return
    if not os.stat(path).st_mode & 0o100:
        yield wrong(name, f"{path} is not executable: install Shifter again")
    else:
        yield ok(name, f"{path} can be changed by root alone")


def _mount_point(key: str, path: str) -> Iterator[Matter]:
    try:
        os.close(trust.open_mount_point(path))
    except UntrustedPathError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            yield ok(key, f"{path} is not there yet: the first launch makes it")
        elif isinstance(error.__cause__, PermissionError):
            yield skipped(key, f"only root can look at {path}")
        else:
            yield wrong(key, f"{error}")
        return
    yield ok(key, f"{path} is a directory that root alone can replace")


def _images(path: str) -> Iterator[Matter]:
    try:
        with os.scandir(path) as entries:
            count = sum(entry.name.endswith(".meta") for entry in entries)
    except PermissionError:
        if os.geteuid():
            yield skipped("imagePath", f"only root can look into {path}")
        else:
            yield warning(
                "imagePath",
                f"root may not look into {path} (a share with root-squash?): launches read images "
                "as their owner, who is to be root or one of imageOwners",
            )
        return
    except OSError as error:
        yield wrong(
            "imagePath",
            f"cannot look into {path}: {error.strerror}: mount the filesystem that the gateway "
            "delivers images to, as it is mounted there",
        )
        return
    images = "1 image" if count == 1 else f"{count} images"
    yield ok("imagePath", f"{path} can be read, and holds {images}")
