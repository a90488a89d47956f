# SPDX-License-Identifier: BSD-3-Clause
"""How fast a program writes pieces of 512 bytes: into a perNodeCache, and onto what it lies on."""

from __future__ import annotations

import dataclasses
import os
import pwd
import re
import subprocess
from pathlib import Path

from benchmarks import launch, programs, shared_filesystem
from benchmarks.installation import Installation
from benchmarks.launch import LaunchImage, as_user
from benchmarks.programs import BenchmarkError
from benchmarks.report import MEBIBYTE, Budget, Measurement, Report

PIECE = 512  # bytes, as in the paper's table
CACHE, SHARED, TMPFS = "perNodeCache", "the shared filesystem itself", "tmpfs"
TIMES_FASTER = 7  # the Shifter paper's Table II
CACHE_SIZE = "1G"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Writes:
    """What one run of the benchmark shares; `delay` is of each operation, in seconds."""

    work: Path
    user: pwd.struct_passwd
    installation: Installation
    delay: float
    mebibytes: int
    repetitions: int


def measure(writes: Writes) -> Report:
    """The same dd, in the same container, at three places of it."""
    with shared_filesystem.mounted(writes.work, delay=writes.delay) as shared:
        shared_filesystem.fill(shared, lambda place: _put(writes, place))
        writes.installation.configure(
            writes.work / "images",
            siteFs=f"{shared / 'user'}:/shared",
            perNodeCachePath=shared / "caches",
            mkfsXfsPath="/sbin/mkfs.xfs",
        )
        launch.make_tree(writes.work / "tree")
        with launch.image_of(writes.work, writes.installation) as image:
            measurements = tuple(
                _measured(writes, image, name, options, target, pieces)
                for name, options, target, pieces in (
                    (CACHE, [f"--volume=/shared:/data:perNodeCache=size={CACHE_SIZE}"], "/data", 1),
                    # A thousandth would do: it is that much slower.
                    (SHARED, [], "/shared", 16),
                    (TMPFS, ["--mount=tmpfs:/data"], "/data", 1),
                )
            )
    report = Report(
        title=f"writes: {PIECE} bytes at a time, fsync at the end",
        ours=CACHE,
        measurements=measurements,
        facts={
            "user": writes.user.pw_name,
            "shared filesystem": shared_filesystem.describe(writes.delay),
        },
    )
    return dataclasses.replace(report, budgets=(_budget(report),))


def _budget(report: Report) -> Budget:
    ours, shared = report.find(CACHE), report.find(SHARED)
    measured = None
    if ours and shared and ours.per_second and shared.per_second:
        measured = ours.per_second / shared.per_second
    return Budget(
        text="times faster in a perNodeCache than on the filesystem that it lies on",
        limit=TIMES_FASTER,
        measured=measured,
        at_least=True,
    )


def _put(writes: Writes, place: Path) -> None:
    for name, mode in (("user", 0o755), ("caches", 0o1733)):
        (place / name).mkdir()
        (place / name).chmod(mode)
    os.chown(place / "user", writes.user.pw_uid, writes.user.pw_gid)


def _measured(
    writes: Writes,
    image: LaunchImage,
    name: str,
    options: list[str],
    target: str,
    fraction: int,
) -> Measurement:
    """Seconds for a mebibyte each, and pieces per second, as dd itself counts."""
    pieces = writes.mebibytes * MEBIBYTE // PIECE // fraction
    # busybox says how long dd took only where its own time runs it.
    dd = [
        "/bin/busybox",
        "time",
        "/bin/busybox",
        "dd",
        "if=/dev/zero",
        f"of={target}/pieces",
        f"bs={PIECE}",
        f"count={pieces}",
    ]
    command = image.command(writes.installation, *options, *dd)
    try:
        seconds = [_seconds([*command, "conv=fsync"], writes) for _ in range(writes.repetitions)]
    except BenchmarkError as error:
        return Measurement(name=name, note=str(error))
    mebibytes = pieces * PIECE / MEBIBYTE
    best = sorted(seconds)[len(seconds) // 2]
    return Measurement(
        name=name,
        seconds=tuple(one / mebibytes for one in seconds),
        per_second=pieces / best,
        note=f"{mebibytes / best:.1f} MiB/s; seconds are for one MiB",
    )


def _seconds(command: list[str], writes: Writes) -> float:
    """How long dd wrote: without the launch, which other benchmarks measure."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        **as_user(writes.user),
    )
    found = re.search(r"^real\s+(?:(\d+)h )?(\d+)m ([0-9.]+)s$", done.stderr, re.MULTILINE)
    if done.returncode or found is None:
        raise BenchmarkError(done.stderr.strip()[-programs.TAIL :])
    hours, minutes, seconds = found.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
