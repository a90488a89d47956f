# SPDX-License-Identifier: BSD-3-Clause
"""How long Python takes to start with all its imports: from an image, and from what others have."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import programs, python_tree, shared_filesystem
from benchmarks.installation import Installation
from benchmarks.launch import as_user
from benchmarks.programs import BenchmarkError
from benchmarks.report import Budget, Measurement, Report

EXTENSIONS = 300
SET = ("HOME=/tmp", "MPLCONFIGDIR=/tmp")
PATIENCE = 5.0  # seconds for the kernel to take down what the last launch mounted
STORMS = {"scientific": python_tree.SCIENTIFIC, "generated": python_tree.GENERATED}
AHEAD, IMAGE = "image read ahead", "image"
SHARED, TMPFS = "directory, same filesystem", "directory, tmpfs"
# What the papers on Shifter claim for such starts, as the design of this project has it.
COLD_AGAINST_SHARED, COLD_AGAINST_TMPFS, WARM_AGAINST_TMPFS = 3.5, 1.4, 1.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imports:
    """What one run of the benchmark shares; `delay` is of each operation, in seconds."""

    work: Path
    user: pwd.struct_passwd
    installation: Installation
    delay: float
    repetitions: int


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the tree is, what is typed before a program of it, and how the site is configured."""

    name: str
    prefix: tuple[str, ...]
    settings: Mapping[str, str]

    def command(self, *program: str) -> list[str]:
        return [*self.prefix, *program]


def measure(imports: Imports) -> Report:
    """Cold and warm, each storm from each place; every process is the user's."""
    if absent := programs.missing("bwrap", "gensquashfs"):
        raise BenchmarkError(absent)
    tree = imports.work / "python"
    python_tree.make(tree, imports.work, extensions=EXTENSIONS)
    with (
        shared_filesystem.mounted(imports.work, delay=imports.delay) as shared,
        _in_memory(imports.work) as memory,
    ):
        programs.run(["cp", "-a", tree, memory / "tree"])
        shared_filesystem.fill(shared, lambda place: _put(tree, place))
        image = _launched(tree, imports, shared)
        places = (
            Place(AHEAD, image, {"imageReadAhead": "1G"}),
            Place(IMAGE, image, {}),
            Place(SHARED, _unpacked(shared / "tree"), {}),
            Place(TMPFS, _unpacked(memory / "tree"), {}),
        )
        measurements = [
            measurement
            for storm, code in STORMS.items()
            for place in places
            for measurement in _cold_and_warm(imports, shared, storm, place, code)
        ]
    report = Report(
        title="imports: a Python process from start to end",
        ours=f"scientific, {AHEAD}, cold",
        measurements=tuple(measurements),
        facts={
            "user": imports.user.pw_name,
            "extensions": EXTENSIONS,
            "shared filesystem": shared_filesystem.describe(imports.delay),
        },
    )
    return dataclasses.replace(report, budgets=tuple(_budgets(report)))


def _budgets(report: Report) -> Iterator[Budget]:
    def ratio(storm: str, one: str, other: str, state: str) -> float | None:
        top = report.find(f"{storm}, {one}, {state}")
        bottom = report.find(f"{storm}, {other}, {state}")
        if top is None or bottom is None or not top.median or not bottom.median:
            return None
        return top.median / bottom.median

    for storm in STORMS:
        yield Budget(
            text=f"{storm}: {SHARED} takes so many times the image, cold",
            limit=COLD_AGAINST_SHARED,
            measured=ratio(storm, SHARED, AHEAD, "cold"),
            at_least=True,
        )
    # The other storm is over in a tenth of a second, most of which is not spent on files.
    yield Budget(
        text="scientific: the image, cold, to tmpfs",
        limit=COLD_AGAINST_TMPFS,
        measured=ratio("scientific", AHEAD, TMPFS, "cold"),
    )
    yield Budget(
        text="scientific: the image, warm, to tmpfs",
        limit=WARM_AGAINST_TMPFS,
        measured=ratio("scientific", AHEAD, TMPFS, "warm"),
    )


def _cold_and_warm(
    imports: Imports, shared: Path, storm: str, place: Place, code: str
) -> list[Measurement]:
    """Cold: the node knows nothing of the files. Warm: another process of the job has used them."""
    command = place.command("/usr/bin/python3", "-c", code)
    cold, warm = [], []
    imports.installation.configure(shared / "images", **place.settings)
    _timed(imports, command)  # a server may have something to do once for each file
    for _ in range(imports.repetitions):
        _forget(imports)
        cold.append(_timed(imports, command))
    with _held(imports, place):
        _timed(imports, command)
        warm += [_timed(imports, command) for _ in range(imports.repetitions)]
    return [
        Measurement(name=f"{storm}, {place.name}, cold", seconds=tuple(cold)),
        Measurement(name=f"{storm}, {place.name}, warm", seconds=tuple(warm)),
    ]


@contextlib.contextmanager
def _held(imports: Imports, place: Place) -> Iterator[None]:
    """Another process is there, as other ranks of a job are: an image stays mounted."""
    holder = subprocess.Popen(
        place.command("/bin/sh", "-c", "echo; exec cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **as_user(imports.user),
    )
    with holder:
        assert holder.stdin and holder.stdout
        holder.stdout.readline()
        yield  # leaving closes the holder's input, which ends it


def _timed(imports: Imports, command: Sequence[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        **as_user(imports.user),
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise BenchmarkError(done.stderr.decode(errors="replace").strip()[-programs.TAIL :])
    return seconds


def _forget(imports: Imports) -> None:
    """Let the node know nothing any more of what it has read."""
    deadline = time.monotonic() + PATIENCE
    while _is_attached(imports) and time.monotonic() < deadline:
        time.sleep(0.02)
    programs.run(["sync"])
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def _is_attached(imports: Imports) -> bool:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # detached since it was listed
            if str(imports.work) in path.read_text():
                return True
    return False


def _put(tree: Path, place: Path) -> None:
    programs.run(["cp", "-a", tree, place / "tree"])
    (place / "images").mkdir()


def _launched(tree: Path, imports: Imports, shared: Path) -> tuple[str, ...]:
    """The tree as the gateway would leave it on the shared filesystem; how it is launched."""
    packed = imports.work / "python.squashfs"
    if not packed.exists():
        # Times are kept, as a pull keeps them: Python would compile every module anew.
        packer = ["gensquashfs", "--keep-time", "--compressor", "zstd"]
        programs.run([*packer, "--pack-dir", tree, packed])
    image_id = hashlib.sha256(packed.read_bytes()).hexdigest()
    shared_filesystem.fill(shared, lambda place: _deliver(packed, place / "images", image_id))
    launcher = str(imports.installation.shifter)
    return (launcher, f"--image=id:{image_id}", "--clearenv", *(f"--env={pair}" for pair in SET))


def _deliver(packed: Path, images: Path, image_id: str) -> None:
    shutil.copyfile(packed, images / f"{image_id}.squashfs")
    (images / f"{image_id}.meta").write_text("FORMAT: squashfs\n")


def _unpacked(tree: Path) -> tuple[str, ...]:
    """The same tree as root directory, by the cheapest tool there is."""
    root = ("--ro-bind", str(tree), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")
    pairs = (word for pair in SET for word in ("--setenv", *pair.split("=", 1)))
    return ("bwrap", *root, "--clearenv", *pairs)


@contextlib.contextmanager
def _in_memory(work: Path) -> Iterator[Path]:
    place = work / "memory"
    place.mkdir(exist_ok=True)
    programs.run(["mount", "-t", "tmpfs", "-o", "size=4G,mode=755", "tmpfs", place])
    try:
        yield place
    finally:
        programs.run(["umount", place])
        place.rmdir()
