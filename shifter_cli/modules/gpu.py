# SPDX-License-Identifier: BSD-3-Clause
"""The user's half of a GPU driver as a module: it must match the kernel's half, on the node."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable

from shifter_cli.modules.content import Content
from shifter_cli.modules.errors import PrepareError
from shifter_cli.modules.search import Library, Loader, standard_directories


@dataclasses.dataclass(frozen=True)
class Vendor:
    """What belongs to the driver of one vendor."""

    name: str
    libraries: tuple[str, ...]  # how names start, up to ".so"
    programs: tuple[str, ...]
    directories: tuple[str, ...]  # below --from, beside the usual ones
    device: str  # the name below /dev of what a node with such a GPU has
    devices: tuple[str, ...]  # how names below /dev start
    texts: tuple[str, ...] = ()  # scripts that programs are links to, below --from
    self_contained: bool = False  # needs but glibc, and what images have


_NVIDIA = Vendor(
    name="nvidia",
    libraries=(
        *("libcuda", "libcudadebugger", "libnvidia-ml", "libnvidia-ptxjitcompiler"),
        *("libnvidia-nvvm", "libnvidia-nvvm70", "libnvidia-fatbinaryloader", "libnvidia-compiler"),
        *("libnvidia-gpucomp", "libnvidia-opencl", "libnvidia-allocator", "libnvidia-cfg"),
        # Not libnvidia-pkcs11*: the node's libcrypto, which they need, would be every program's.
        *("libnvidia-nscq", "libnvidia-tileiras", "libnvidia-sandboxutils"),
        *("libnvcuvid", "libnvidia-encode", "libnvidia-opticalflow"),
        *("libnvoptix", "libnvidia-rtcore"),
    ),
    programs=(
        *("nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"),
    ),
    directories=("lib64/nvidia", "lib/nvidia", "nvidia/lib64", "nvidia/lib"),
    self_contained=True,
    device="nvidiactl",
    devices=("nvidia",),
)
_AMD = Vendor(
    name="amd",
    libraries=(
        *("libhsa-runtime64", "libamdhip64", "libamd_comgr", "librocm_smi64", "libamd_smi"),
        *("librocprofiler-register", "libhsakmt", "libamdocl64", "libdrm_amdgpu", "libdrm"),
    ),
    programs=("rocm-smi", "rocminfo", "rocm_agent_enumerator", "amd-smi"),
    directories=("rocm/lib", "rocm/lib64", "amdgpu/lib/x86_64-linux-gnu"),
    device="kfd",
    devices=("kfd", "dri"),
    texts=("libexec/rocm_smi",),
)
VENDORS = (_NVIDIA, _AMD)

_MACHINES = {"x86_64": ((64, "EM_X86_64"), (32, "EM_386")), "aarch64": ((64, "EM_AARCH64"),)}
_DRIVER_VERSION = re.compile(r"\.so\.(\d{3,}\.\d+(?:\.\d+)*)$")


def gather(
    name: str,
    source: str,
    loader: Loader,
    *,
    machine: str = os.uname().machine,
    leave: frozenset[str] = frozenset(),
    take: frozenset[str] = frozenset(),
) -> Content:
    """The module `name` of the drivers below `source`, /usr say, and in the loader's cache.

    Where the node has a GPU, the libraries of other vendors, which distributions have for programs
    that know both, are left out.
    """
    content = Content(name)
    found = []
    present = loader.tree.names("/dev")
    here = [vendor for vendor in VENDORS if vendor.device in present]
    for vendor in here or VENDORS:
        if _add_vendor(content, vendor, source, loader, machine, leave, take):
            found.append(vendor.name)
    if not found:
        raise PrepareError(
            f"there is no libcuda.so.1 (NVIDIA) and no libhsa-runtime64.so.1 (AMD) below {source}, "
            f"nor in {loader.tree.outside('/etc/ld.so.cache')}: give where the driver is by --from"
        )
    content.variables["SHIFTER_GPU"] = ",".join(found)
    directories = sorted({path.partition("/")[0] for path in content.files | content.links})
    content.prepended["LD_LIBRARY_PATH"] = [
        content.inside(directory) for directory in directories if directory in ("lib", "lib32")
    ]
    if "bin" in directories:
        content.prepended["PATH"] = [content.inside("bin")]
    return content


def devices(loader: Loader) -> list[str]:
    """Device nodes of GPUs; containers see all of the node's /dev."""
    starts = tuple(start for vendor in VENDORS for start in vendor.devices)
    return [f"/dev/{name}" for name in loader.tree.names("/dev") if name.startswith(starts)]


def _add_vendor(
    content: Content,
    vendor: Vendor,
    source: str,
    loader: Loader,
    machine: str,
    leave: frozenset[str],
    take: frozenset[str],
) -> bool:
    """Whether the vendor's driver is there; its first library is what tells."""
    main = f"{vendor.libraries[0]}.so.1"
    there = False
    prefixes = [source]  # where the libraries are, the programs may be beside them
    for architecture in _MACHINES.get(machine, ()):
        directory = "lib" if architecture[0] == 64 else "lib32"
        libraries = _of_one_driver(content, _libraries(vendor, source, loader, architecture))
        libraries = [one for one in libraries if not one.names & leave]
        if not any(main in one.names for one in libraries):
            continue
        there = True
        for library in libraries:
            path = content.add_library(library, directory)
            prefixes.append(os.path.dirname(os.path.dirname(library.path)))
            if main in library.names:
                content.core.add(path)
                content.add_link(f"{directory}/{vendor.libraries[0]}.so", os.path.basename(path))
        needed, missing = loader.closure(libraries, leave, take)
        for library in needed:
            if not vendor.self_contained or library.names & take:
                content.add_library(library, directory)
        content.notes += [
            f"{one.needed_by} needs {one.soname}, which is missing" for one in missing
        ]
    if there:
        _add_programs(content, vendor, list(dict.fromkeys(prefixes)), loader)
    return there


def _libraries(
    vendor: Vendor, source: str, loader: Loader, architecture: tuple[int, str]
) -> list[Library]:
    """By the loader's cache, whose choice comes first, and by directories; one entry a file."""
    cached = [path for paths in loader.cached().values() for path in paths]
    paths = [path for path in cached if _is_of(vendor, path) and _is_below(path, source)]
    for directory in _directories(vendor, source, architecture):
        names = loader.tree.names(directory)
        paths += [os.path.join(directory, name) for name in names if _is_of(vendor, name)]
    found: dict[str, Library] = {}
    for path in paths:
        library = loader.library(path)
        if library is None or library.content.architecture != architecture:
            continue
        other = found.get(library.path, library)
        found[library.path] = dataclasses.replace(library, names=library.names | other.names)
    return list(found.values())


def _directories(vendor: Vendor, source: str, architecture: tuple[int, str]) -> Iterable[str]:
    standard = [path.removeprefix("/usr") for path in standard_directories(architecture)]
    for path in dict.fromkeys((*standard, *vendor.directories)):
        yield os.path.join(source, path.lstrip("/"))
    yield source


def _is_below(path: str, source: str) -> bool:
    """/usr stands for / too: many distributions have merged /lib into /usr/lib, others not."""
    return source == "/usr" or path.startswith(f"{source.rstrip('/')}/")


def _is_of(vendor: Vendor, path: str) -> bool:
    stem, separator, _ = os.path.basename(path).partition(".so.")
    return bool(separator) and stem in vendor.libraries


def _of_one_driver(content: Content, libraries: list[Library]) -> list[Library]:
    """Without what an earlier driver left behind: versions in names must be that of the first."""
    versions = {library.path: _version_of(library.path) for library in libraries}
    first = next((version for version in versions.values() if version), None)
    strangers = [path for path, version in versions.items() if version not in (None, first)]
    content.notes += [f"left out {path}: the driver is {first}" for path in strangers]
    return [library for library in libraries if library.path not in strangers]


def _version_of(path: str) -> str | None:
    found = _DRIVER_VERSION.search(path)
    return found[1] if found else None


def _add_programs(content: Content, vendor: Vendor, prefixes: list[str], loader: Loader) -> None:
    for place in vendor.texts:
        for directory in _below(prefixes, place):
            for name in loader.tree.names(directory):
                if name.endswith(".py"):
                    content.add_file(os.path.join(directory, name), place)
    for name in vendor.programs:
        for directory in _below(prefixes, "bin"):
            path = loader.tree.resolve(os.path.join(directory, name))
            if path is None:
                continue
            script = next((p for p, origin in content.files.items() if origin == path), None)
            if script:
                content.add_link(f"bin/{name}", f"../{script}")
                break
            # Not a script of the node's, which would look for the program where it is there.
            if loader.read(path) is not None and os.path.basename(path) == name:
                content.add_file(path, "bin")
                break


def _below(prefixes: list[str], place: str) -> list[str]:
    return [os.path.join(prefix, *below, place) for prefix in prefixes for below in ((), ("rocm",))]
