# SPDX-License-Identifier: BSD-3-Clause
"""What launches need of the kernel: version, filesystems, calls, namespaces, loop devices."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable, Iterator

from shifter_cli.checks import Matter, content_of, ok, skipped, warning, wrong
from shifter_runtime import syscalls
from shifter_runtime.config import RuntimeConfig

_OLDEST = (5, 12)
_LOOP_CONTROL = "/dev/loop-control"


def features(config: RuntimeConfig) -> Iterator[Matter]:
    yield from _version(os.uname().release)
    wanted = ["overlay", "squashfs", "tmpfs"]
    if config.per_node_cache_path:
        wanted.append("xfs")
    for name in wanted:
        yield from _filesystem(name)
    yield from _compression()
    yield from _call("openat2", _open_in_root)
    yield from _call("mount_setattr", _set_attributes)
    yield from _namespaces()
    yield from _cgroups()


def loop_devices() -> Iterator[Matter]:
    if not os.path.exists(_LOOP_CONTROL):
        yield wrong(
            "loop",
            f"there is no {_LOOP_CONTROL}: modprobe loop, and name loop in a file of "
            "/etc/modules-load.d",
        )
        return
    used = _used_devices()
    most = _number("/sys/module/loop/parameters/max_loop")
    yield ok("loop", f"{used} loop devices in use (loop.max_loop = {most or 'not set'})")
    if os.geteuid():
        yield skipped("loop_free", "only root can ask for a free loop device")
    else:
        yield from _free_device()


def _version(release: str) -> Iterator[Matter]:
    parts = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit()]
    if tuple(parts) < _OLDEST:
        yield wrong("version", f"Linux {release} is too old: 5.12 or newer is needed")
    else:
        yield ok("version", f"Linux {release} is new enough (5.12 or newer)")


def _filesystem(name: str) -> Iterator[Matter]:
    if name in _lines_of("/proc/filesystems"):
        yield ok(name, f"the kernel has {name}")
    elif module := _module(name):
        yield ok(name, f"the kernel loads {name} when it is needed ({module})")
    else:
        yield wrong(
            name,
            f"the kernel has no {name}, and there is no module of it for {os.uname().release}: "
            "install the kernel's package of modules, or a kernel that has it",
        )


def _module(name: str) -> str | None:
    """The file of a module that the kernel could load, or that is built in but not registered."""
    directory = f"/lib/modules/{os.uname().release}"
    for listing in ("modules.dep", "modules.builtin"):
        for line in content_of(f"{directory}/{listing}").splitlines():
            file = line.partition(":")[0]
            if os.path.basename(file).partition(".")[0] == name:
                return os.path.basename(file)
    return None


def _compression() -> Iterator[Matter]:
    settings = _kernel_settings()
    if settings is None:
        yield skipped(
            "zstd", "whether squashfs files of zstd can be read: this kernel does not tell"
        )
    elif "CONFIG_SQUASHFS_ZSTD=y" in settings:
        yield ok("zstd", "squashfs files that are compressed by zstd can be read")
    elif "CONFIG_SQUASHFS" in settings:
        yield wrong(
            "zstd",
            "this kernel's squashfs cannot read zstd: set ConverterOptions of the gateway to "
            '{"squashfs": ["-comp", "gzip"]}, and have images pulled again',
        )


def _kernel_settings() -> str | None:
    try:
        with gzip.open("/proc/config.gz", "rt") as file:
            return file.read()
    except OSError:
        return content_of(f"/boot/config-{os.uname().release}") or None


def _call(name: str, attempt: Callable[[], None]) -> Iterator[Matter]:
    try:
        attempt()
    except OSError as error:
        if error.errno == errno.ENOSYS:
            yield wrong(
                name, f"the kernel does not have {name}, or a sandbox keeps it from programs"
            )
            return
        if error.errno == errno.EPERM and not os.geteuid():
            yield warning(name, f"{name} is refused to root here: is this a container?")
            return
    yield ok(name, f"the kernel has {name}")


def _open_in_root() -> None:
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(syscalls.open_in(directory, "/proc", os.O_PATH, syscalls.RESOLVE_IN_ROOT))
    finally:
        os.close(directory)


def _set_attributes() -> None:
    # No descriptor: a kernel that has the call complains of that, before anything else.
    syscalls.set_attributes(-1, 0, recursive=False, name="mount_setattr")


def _namespaces() -> Iterator[Matter]:
    for kind, word, needed_by in (
        ("mnt", "mount", "launches"),
        ("user", "user", "--writable (id-mapped mounts)"),
    ):
        name = f"{kind}_namespaces"
        if not os.path.exists(f"/proc/self/ns/{kind}"):
            yield wrong(name, f"the kernel has no {word} namespaces, which {needed_by} need")
        elif _number(f"/proc/sys/user/max_{name}") == 0:
            yield wrong(
                name,
                f"no {word} namespace may be made, which {needed_by} need: raise user.max_{name} "
                "by sysctl",
            )
        else:
            yield ok(name, f"{word} namespaces can be made, for {needed_by}")


def _cgroups() -> Iterator[Matter]:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        yield ok("cgroups", "control groups of version 2")
    elif os.path.isdir("/sys/fs/cgroup/memory"):
        yield ok("cgroups", "control groups of version 1")
    else:
        yield warning(
            "cgroups",
            "no control groups at /sys/fs/cgroup: memory_cgroup and extern_cgroup of the Slurm "
            "plugin have nothing to work with",
        )


def _used_devices() -> int:
    try:
        names = os.listdir("/sys/block")
    except OSError:
        return 0
    return sum(name.startswith("loop") and os.path.exists(f"/sys/block/{name}/loop")
               for name in names)  # fmt: skip


def _free_device() -> Iterator[Matter]:
    try:
        control = os.open(_LOOP_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            number, _ = syscalls.control(control, syscalls.LOOP_CTL_GET_FREE, 0, _LOOP_CONTROL)
        finally:
            os.close(control)
    except OSError as error:
        yield wrong(
            "loop_free",
            f"no free loop device: {error.strerror}: raise loop.max_loop, or end jobs that hold "
            "images",
        )
        return
    device = f"/dev/loop{number}"
    if os.path.exists(device):
        yield ok("loop_free", f"{device} is free")
    else:
        yield wrong(
            "loop_free",
            f"{device} is free, and has no node in /dev: run udev, or mknod {device} b 7 {number}",
        )


def _lines_of(path: str) -> set[str]:
    return {line.split()[-1] for line in content_of(path).splitlines() if line.split()}


def _number(path: str) -> int | None:
    text = content_of(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None
