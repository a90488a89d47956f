# SPDX-License-Identifier: BSD-3-Clause
"""How long a user waits for `true`: in an image, in what others make of it, and without any."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import catalogs, programs, spawn
from benchmarks import installation as installations
from benchmarks.installation import Installation
from benchmarks.peers import podman_storage
from benchmarks.programs import BenchmarkError
from benchmarks.report import Budget, Measurement, Report

COLD = "shifter, image not mounted"
WARM = "shifter, image in use by another"
JOINING = "shifter, joining what setupRoot prepared"
VOLUME = "shifter, image in use, with a volume"
CACHE = "shifter, image in use, with a perNodeCache"
GATEWAY = "shifter, image in use, its name asked of the gateway"
A_CACHE = "perNodeCache=size=1G"
TOGETHER = "shifter, all at once, until the last runs"
APPLETS = ("true", "sh", "cat", "dd")
DIRECTORIES = ("bin", "dev", "etc", "opt", "proc", "sys", "tmp", "var")
WARMUPS = 3
NO_REGISTRY = "http://127.0.0.1:9"
SLOW = 10  # repetitions of a contender that takes a large part of a second
# crun refuses a machine that has both versions of cgroups, so it is shown one, in a mount namespace
# of its own; and it is not asked to make any.
ONE_CGROUP_VERSION = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
FOR_CRUN = ("unshare", "--mount", "sh", "-c", ONE_CGROUP_VERSION, "sh")
# podman would raise limits, which is not permitted everywhere; lowering them is.
LOW_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
PODMAN_RUN = ("--rm", "--network=none", "--cgroups=disabled", *LOW_LIMITS)
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launches:
    """What one run of the benchmark shares."""

    work: Path
    user: pwd.struct_passwd
    installation: Installation
    repetitions: int
    at_once: int

    @property
    def tree(self) -> Path:
        """The unpacked directory that others start from."""
        return self.work / "tree"


@dataclasses.dataclass(frozen=True)
class LaunchImage:
    """The same tree as an image on the node."""

    image_id: str
    path: Path

    def command(self, installation: Installation, *arguments: str) -> list[str]:
        return [str(installation.shifter), f"--image=id:{self.image_id}", *arguments]


def measure(launches: Launches) -> Report:
    """Every contender one after the other, each started by the same loop."""
    make_tree(launches.tree)
    with image_of(launches.work, launches.installation) as image:
        at_once, devices = _together(launches, image)
        measurements = (
            _attempt(COLD, lambda: _cold(launches, image)),
            _attempt(WARM, lambda: _warm(launches, image)),
            _attempt(JOINING, lambda: _joining(launches, image)),
            _attempt(VOLUME, lambda: _warm(launches, image, "--volume=/tmp:/data")),
            _attempt(CACHE, lambda: _warm(launches, image, f"--volume=/tmp:/data:{A_CACHE}")),
            _attempt(GATEWAY, lambda: _by_name(launches, image)),
            at_once,
            _attempt("bubblewrap, unpacked directory", lambda: _bubblewrap(launches)),
            _attempt("podman run, as root", lambda: _podman(launches)),
            _attempt("fork and exec alone", lambda: _plain(launches)),
        )
    report = Report(
        title="launch: from posix_spawn to the end of wait for `true`",
        ours=COLD,
        measurements=measurements,
        facts={"user": launches.user.pw_name, "launches at once": launches.at_once},
    )
    return dataclasses.replace(report, budgets=_budgets(report, launches.at_once, devices))


def _budgets(report: Report, at_once: int, devices: int | None) -> tuple[Budget, ...]:
    def median_ms(name: str) -> float | None:
        one = report.find(name)
        return None if one is None or one.median is None else one.median * 1000

    return (
        Budget(text="ms, cold private launch", limit=20, measured=median_ms(COLD)),
        Budget(text="ms, image already mounted on the node", limit=12, measured=median_ms(WARM)),
        Budget(text="ms, joining a prepared container", limit=10, measured=median_ms(JOINING)),
        Budget(text=f"loop devices for {at_once} launches at once", limit=1, measured=devices),
    )


def _attempt(name: str, measured: Callable[[], Measurement]) -> Measurement:
    """The measurement, or one that says why there is none."""
    try:
        return dataclasses.replace(measured(), name=name)
    except BenchmarkError as error:
        return Measurement(name=name, note=str(error))


def _cold(launches: Launches, image: LaunchImage) -> Measurement:
    command = image.command(launches.installation, "/bin/true")
    return _repeated(launches, command, unmounted=image.path)


def _warm(launches: Launches, image: LaunchImage, *options: str) -> Measurement:
    with _held(launches, image):
        return _repeated(launches, image.command(launches.installation, *options, "/bin/true"))


@contextlib.contextmanager
def _held(launches: Launches, image: LaunchImage) -> Iterator[None]:
    """Another launch has the image mounted."""
    hold = image.command(launches.installation, "/bin/sh", "-c", "echo; cat")
    holder = subprocess.Popen(
        hold,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **as_user(launches.user),
    )
    with holder:
        assert holder.stdin and holder.stdout and holder.stderr
        if not holder.stdout.readline():
            raise BenchmarkError(holder.stderr.read().decode(errors="replace").strip())
        yield  # leaving closes the holder's input, which ends it


def _joining(launches: Launches, image: LaunchImage) -> Measurement:
    """As in a job: a root process prepares the container on the node, and launches join it."""
    tools = launches.installation.prefix / "sbin"
    programs.run([tools / "setupRoot", "-u", launches.user.pw_name, "id", image.image_id])
    try:
        return _repeated(launches, image.command(launches.installation, "/bin/true"))
    finally:
        programs.run([tools / "unsetupRoot"])


def _by_name(launches: Launches, image: LaunchImage) -> Measurement:
    """The user's own process asks an embedded gateway, with a munge credential."""
    configured = launches.installation.config.read_text()
    with (
        programs.empty(launches.work / "named") as directory,
        installations.munge(launches.work) as munge_socket,
    ):
        filled = directory / "filled.sqlite"
        catalogs.fill_sqlite(filled, 1)
        with installations.gateway(
            launches.installation,
            directory / "gateway",
            registry_url=NO_REGISTRY,
            munge_socket=munge_socket,
            images=launches.installation.images,
            catalog=filled,
        ) as served:
            launches.installation.configure(
                launches.installation.images, gateway_url=served.url, munge_socket=munge_socket
            )
            try:
                return _named(launches, image)
            finally:
                launches.installation.config.write_text(configured)


def _named(launches: Launches, image: LaunchImage) -> Measurement:
    command = [str(launches.installation.shifter), f"--image=docker:{catalogs.tag(0)}", "/bin/true"]
    slow = dataclasses.replace(launches, repetitions=min(launches.repetitions, SLOW))
    with _held(launches, image):
        return _repeated(slow, command)


def _together(launches: Launches, image: LaunchImage) -> tuple[Measurement, int | None]:
    """The launches at once, and how many loop devices they needed."""
    command = image.command(launches.installation, "/bin/sh", "-c", "echo; cat")
    order = {"command": command, "launches": launches.at_once, "image": str(image.path)}
    try:
        answer = _spawned(order, launches.user)
    except BenchmarkError as error:
        return Measurement(name=TOGETHER, note=str(error)), None
    if answer["failed"]:
        return Measurement(name=TOGETHER, note=f"{answer['failed']} launches failed"), None
    note = f"{launches.at_once} launches, loop devices: {answer['devices']}"
    return Measurement(name=TOGETHER, seconds=(answer["seconds"],), note=note), answer["devices"]


def _bubblewrap(launches: Launches) -> Measurement:
    if absent := programs.missing("bwrap"):
        raise BenchmarkError(absent)
    binds = ["--ro-bind", str(launches.tree), "/", "--dev-bind", "/dev", "/dev"]
    binds += ["--proc", "/proc", "--ro-bind", "/sys", "/sys", "--tmpfs", "/tmp"]
    return _repeated(launches, [_found("bwrap"), *binds, "/bin/true"])


def _podman(launches: Launches) -> Measurement:
    if absent := programs.missing("podman"):
        raise BenchmarkError(absent)
    archive = launches.work / "tree.tar"
    name = "localhost/benchmark:tree"
    programs.run(["tar", "--create", "--file", archive, "--directory", launches.tree, "."])
    with podman_storage(launches.work) as command:
        programs.run([*command, "import", "--quiet", archive, name])
        archive.unlink()
        run = [_found("podman"), *command[1:], "run", *PODMAN_RUN, name, "/bin/true"]
        slow = dataclasses.replace(launches, repetitions=min(launches.repetitions, SLOW))
        return _repeated(slow, run, by=FOR_CRUN, as_root=True)


def _plain(launches: Launches) -> Measurement:
    return _repeated(launches, [str(launches.tree / "bin" / "true")])


def _repeated(
    launches: Launches,
    command: Sequence[str],
    *,
    unmounted: Path | None = None,
    by: Sequence[str] = (),
    as_root: bool = False,
) -> Measurement:
    order = {
        "command": list(command),
        "repetitions": launches.repetitions,
        "warmups": WARMUPS,
        "unmounted": str(unmounted) if unmounted else "",
    }
    answer = _spawned(order, None if as_root else launches.user, by)
    late = answer["late"]
    note = f"{late} launches found a loop device of the one before" if late else ""
    return Measurement(name="", seconds=tuple(answer["seconds"]), note=note)


def _spawned(
    order: Mapping[str, object], user: pwd.struct_passwd | None, by: Sequence[str] = ()
) -> dict[str, Any]:
    """What the launching loop answers, run as that user, or as root, and by that command."""
    interpreter = os.path.realpath(sys.executable)
    done = subprocess.run(
        [*by, interpreter, "-I", "-S", "-c", Path(spawn.__file__).read_text()],
        input=json.dumps(order).encode(),
        capture_output=True,
        check=False,
        **as_user(user),
    )
    words = done.stderr.decode(errors="replace").strip()[-programs.TAIL :]
    if done.returncode:
        raise BenchmarkError(words)
    answer: dict[str, Any] = json.loads(done.stdout)
    if isinstance(answer.get("failed"), int) and "seconds" not in answer:
        raise BenchmarkError(f"exit status {answer['failed']}: {words}")
    return answer


def as_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of subprocess for a program of that user, in a place that everybody sees."""
    if user is None:
        return {"cwd": "/"}
    return {
        "cwd": "/",
        "user": user.pw_uid,
        "group": user.pw_gid,
        "extra_groups": [],
        "env": {"PATH": PATH, "USER": user.pw_name, "HOME": user.pw_dir},
    }


def make_tree(tree: Path) -> None:
    """A busybox and the directories that a container has."""
    shutil.rmtree(tree, ignore_errors=True)
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True)
    busybox = _found("busybox")
    shutil.copy(busybox, tree / "bin" / "busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    try:
        programs.run(["chroot", tree, "/bin/true"])
    except BenchmarkError as error:
        raise BenchmarkError(f"{busybox} needs libraries: install busybox-static") from error


@contextlib.contextmanager
def image_of(work: Path, installation: Installation) -> Iterator[LaunchImage]:
    """The tree in `work` as the gateway would leave it, for as long as the block runs."""
    packed = work / "tree.squashfs"
    packed.unlink(missing_ok=True)
    programs.run(["gensquashfs", "--pack-dir", work / "tree", "--compressor", "zstd", packed])
    image_id = catalogs.image_id(0)  # so that the benchmark's catalogs know it
    images = installation.images
    path, metadata = images / f"{image_id}.squashfs", images / f"{image_id}.meta"
    try:
        shutil.move(packed, path)
        metadata.write_text("FORMAT: squashfs\n")
        yield LaunchImage(image_id, path)
    finally:
        path.unlink(missing_ok=True)
        metadata.unlink(missing_ok=True)


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise BenchmarkError(programs.missing(program))
    return path
