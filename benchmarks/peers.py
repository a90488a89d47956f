# SPDX-License-Identifier: BSD-3-Clause
"""The other ways from a registry to one squashfs file.

Each takes a registry's address, an image and an empty directory, and leaves `image.squashfs` there.
`python -m benchmarks.peers NAME ADDRESS REPOSITORY:TAG DIRECTORY` runs one in a process of its own,
so that what it costs can be told from what the harness costs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import requests

from benchmarks.image import MANIFEST
from benchmarks.layers import OPAQUE_WHITEOUT, WHITEOUT

CHUNK = 4 << 20  # the original reads a blob in pieces of this size
OWNED_BY_ROOT = ("-all-root", "-no-xattrs", "-noappend", "-no-progress")


def original(address: str, image: str, directory: Path) -> None:
    """What the original gateway does: unpack each layer with tarfile, then mksquashfs (gzip)."""
    layers = [_download(address, image, digest, directory) for digest in _layers(address, image)]
    tree = directory / "tree"
    tree.mkdir()
    for layer, members in zip(layers, _surviving(layers), strict=True):
        with tarfile.open(layer, "r:gz") as tar:
            # Interpreters that can refuse unsafe members are told to behave as the old ones did.
            tar.extraction_filter = lambda member, path: member
            names = set(members)
            tar.extractall(tree, [member for member in tar if member.name in names])
    _run("chmod", "-R", "a+rX,u+w", tree)
    _run("mksquashfs", tree, directory / "local.squashfs", *OWNED_BY_ROOT)
    shutil.rmtree(tree)
    # Delivery is a copy, because a system's directory is on another filesystem.
    _run("cp", directory / "local.squashfs", directory / "image.squashfs")


def umoci(address: str, image: str, directory: Path) -> None:
    """The original's way for new registries: skopeo, umoci, mksquashfs (gzip)."""
    layout = f"{directory}/layout:image"
    source = f"docker://{address}/{image}"
    copy = ("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false")
    _run(*copy, source, f"oci:{layout}")
    _run("umoci", "unpack", "--rootless", "--image", layout, directory / "bundle")
    tree = directory / "bundle" / "rootfs"
    _run("mksquashfs", tree, directory / "image.squashfs", *OWNED_BY_ROOT)


def podman(address: str, image: str, directory: Path) -> None:
    """podman pull, then mksquashfs with zstd at its usual level (15)."""
    _podman(address, image, directory, ())


def podman_fast(address: str, image: str, directory: Path) -> None:
    """The same with zstd at the level that ours uses."""
    _podman(address, image, directory, ("-Xcompression-level", "1"))


def _podman(address: str, image: str, directory: Path, options: Iterable[str]) -> None:
    name = f"{address}/{image}"
    with podman_storage(directory) as command:
        _run(*command, "pull", "--quiet", "--tls-verify=false", name)
        tree = _output(*command, "image", "mount", name).strip()
        zstd = ("-comp", "zstd", *options)
        target = directory / "image.squashfs"
        _run("mksquashfs", tree, target, *OWNED_BY_ROOT, *zstd)


@contextlib.contextmanager
def podman_storage(directory: Path) -> Iterator[list[str]]:
    """The podman command with storage of its own below `directory`, emptied at the end."""
    # It refuses a runroot that is longer than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-") as runroot:
        places = (f"--root={directory}/podman", f"--runroot={runroot}", f"--tmpdir={runroot}/tmp")
        command = ["podman", *places, "--storage-driver=overlay", "--cgroup-manager=cgroupfs"]
        try:
            yield command
        finally:
            # Storage holds mounts, which must go before the directories can.
            for end in (["image", "umount", "--all"], ["system", "reset", "--force"]):
                subprocess.run([*command, *end], check=False, capture_output=True)


PEERS: dict[str, Callable[[str, str, Path], None]] = {
    "original": original,
    "umoci": umoci,
    "podman": podman,
    "podman-fast": podman_fast,
}


def _layers(address: str, image: str) -> list[str]:
    repository, _, tag = image.partition(":")
    answer = requests.get(
        f"http://{address}/v2/{repository}/manifests/{tag}",
        headers={"Accept": MANIFEST},
        timeout=60,
    )
    answer.raise_for_status()
    return [layer["digest"] for layer in answer.json()["layers"]]


def _download(address: str, image: str, digest: str, directory: Path) -> Path:
    """One blob after the other, then a program that checks it, as the original does."""
    path = directory / f"{digest}.tar"
    url = f"http://{address}/v2/{image.partition(':')[0]}/blobs/{digest}"
    with requests.get(url, timeout=60, stream=True) as answer, path.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
    if _output("sha256sum", path).split()[0] != digest.removeprefix("sha256:"):
        sys.exit(f"{digest} arrived damaged")
    return path


def _surviving(layers: list[Path]) -> list[list[str]]:
    """For each layer the names that no layer above hides, found from the top layer down."""
    hidden: set[str] = set()
    taken: set[str] = set()
    surviving = []
    for layer in reversed(layers):
        with tarfile.open(layer, "r:gz") as tar:
            members = tar.getmembers()
        names = {member.name for member in members if WHITEOUT not in member.name}
        visible = [name for name in names if name not in taken and not _is_hidden(name, hidden)]
        surviving.append(visible)
        hidden |= {_hidden_by(member.name) for member in members if WHITEOUT in member.name}
        # A directory that became something else hides what lower layers have in it.
        hidden |= {f"{member.name}/" for member in members if not member.isdir()}
        taken |= names - {member.name for member in members if member.isdir()}
    return surviving[::-1]


def _hidden_by(whiteout: str) -> str:
    """What a whiteout hides; with a slash at its end, what is inside of that directory."""
    parent, _, name = whiteout.rpartition("/")
    if name == OPAQUE_WHITEOUT:
        return f"{parent}/"
    return f"{parent}/{name.removeprefix(WHITEOUT)}".removeprefix("/")


def _is_hidden(name: str, hidden: set[str]) -> bool:
    parts = name.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    return name in hidden or any(path in hidden or f"{path}/" in hidden for path in above)


def _run(*command: str | Path) -> None:
    _output(*command)


def _output(*command: str | Path) -> str:
    """What the program printed; its complaints, and which one it was, end this process."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def main() -> None:
    name, address, image, directory = sys.argv[1:]
    os.umask(0o022)
    # What is half done is undone, mounts first, when the harness is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    PEERS[name](address, image, Path(directory))


if __name__ == "__main__":
    main()
