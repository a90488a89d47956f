# SPDX-License-Identifier: BSD-3-Clause
"""The kernel mounts what we make of layers, and finds in it what applying them in order gives."""

from __future__ import annotations

import ast
import gzip
import os
import select
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from shifter_imagegw.errors import ConversionError
from shifter_imagegw.flatten import flatten
from shifter_imagegw.formats import squashfs

from ...unit.shifter_imagegw.flatten.layers import (
    Entry,
    Tree,
    device,
    directory,
    fifo,
    file,
    hard_link,
    opaque,
    symlink,
    tar,
    whiteout,
)
from ...unit.shifter_imagegw.flatten.oracle import BadLayerError, apply_all
from ...unit.shifter_imagegw.flatten.stacks import stacks, tidy_stacks
from . import umoci

WALK = Path(__file__).with_name("walk_image.py")

NASTY: list[list[Entry]] = [
    [
        directory("./", 0o755, 3),
        directory("usr", 0o755),
        directory("usr/lib", 0o755, 5),
        directory("usr/bin"),
        symlink("lib", "usr/lib"),
        symlink("bin", "/usr/bin"),
        file("usr/bin/perl", "perl" * 50_000, 0o755, 7),
        hard_link("usr/bin/perl5", "usr/bin/perl"),
        hard_link("usr/bin/perl5.36", "usr/bin/perl5"),
        file("usr/bin/su", "su", 0o4755),
        directory("root", 0o700),
        file("root/.profile", "secret", 0o600),
        directory("tmp", 0o1777),
        directory("var"),
        directory("var/cache"),
        file("var/cache/old", "old"),
        directory("var/cache/apt"),
        file("var/cache/apt/list"),
        device("dev/null"),
        directory("dev/shm"),
        file("new\nline", "n"),
        file("\udcff\udcfe", "not UTF-8"),
        file("x" * 255, "long"),
        file("/".join(["p" * 200] * 15), "deep"),
        symlink("far", "t" * 4000),
        symlink("dangling", "/no/where"),
        file("empty", mtime=(1 << 32) - 1),
        file("block", "b" * 131072),
        file("block and a tail", "b" * 131073),
        directory("becomes file"),
        file("becomes file/x"),
        file("becomes directory", "x"),
        symlink("becomes real", "usr"),
    ],
    [
        file("usr/bin/perl", "new perl", 0o755),
        hard_link("etc/perl", "usr/bin/perl5.36"),
        opaque("var/cache"),
        file("lib/through", "through the link"),
        file("bin/tool", "tool", 0o700),
        file("becomes file", "now a file"),
        directory("becomes directory"),
        file("becomes directory/x"),
        directory("becomes real"),
        fifo("run/pipe"),
        file("twice", "first"),
        file("twice", "second"),
    ],
    [
        whiteout("usr/bin/perl5"),
        whiteout("dangling"),
        directory("var", 0o711, 9),
        file("var/cache/new", "new"),
        whiteout("becomes real"),
        file("becomes real/again", "again"),
    ],
]

SPECIAL = (tarfile.CHRTYPE, tarfile.FIFOTYPE)
WITHOUT_SPECIALS = [[entry for entry in layer if entry.kind not in SPECIAL] for layer in NASTY]


def _write(folder: Path, stack: Sequence[Sequence[Entry]]) -> list[Path]:
    paths = []
    for number, layer in enumerate(stack):
        paths.append(folder / f"layer{number}")
        blob = tar(layer, tarfile.GNU_FORMAT if number % 2 else tarfile.PAX_FORMAT)
        paths[-1].write_bytes(gzip.compress(blob, 1, mtime=0) if number % 2 else blob)
    return paths


def _make_image(folder: Path, stack: Sequence[Sequence[Entry]]) -> Path:
    layers = [lambda path=path: path for path in _write(folder, stack)]
    image = folder / "image.squashfs"
    squashfs.make(lambda out: flatten(layers, out), image)
    return image


def _mounted(image: Path) -> Tree:
    """Mount the image where nobody else sees it, and walk it."""
    with tempfile.TemporaryDirectory() as mount_point:
        script = 'mount -t squashfs -o loop,ro,nosuid,nodev "$0" "$1" && "$2" "$3" "$1"'
        walked = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script,
             image, mount_point, sys.executable, WALK],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    tree, owners = ast.literal_eval(walked.stdout)
    assert owners == {(0, 0)}
    return tree


@pytest.mark.root
def test_a_nasty_image_mounts_as_what_its_layers_make(tmp_path):
    assert _mounted(_make_image(tmp_path, NASTY)) == apply_all(NASTY)


@pytest.mark.root
@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(stacks)
def test_any_layers_mount_as_what_applying_them_in_order_makes(stack):
    try:
        expected = apply_all(stack)
    except BadLayerError:
        assume(False)
    with tempfile.TemporaryDirectory() as folder:
        assert _mounted(_make_image(Path(folder), stack)) == expected


@pytest.mark.root
@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(tidy_stacks)
def test_layers_as_builders_make_them_mount_as_what_they_make(stack):
    with tempfile.TemporaryDirectory() as folder:
        assert _mounted(_make_image(Path(folder), stack)) == apply_all(stack)


def test_the_same_layers_make_the_same_image(tmp_path):
    images = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        images.append(_make_image(tmp_path / name, NASTY).read_bytes())

    assert images[0] == images[1]


@pytest.mark.root
def test_the_image_has_what_umoci_unpacks(tmp_path):
    """Times and modes differ on purpose: umoci keeps what users could not read."""
    unpacked = umoci.unpacked(tmp_path, [tar(layer) for layer in WITHOUT_SPECIALS])

    ours = _mounted(_make_image(tmp_path, WITHOUT_SPECIALS))

    assert umoci.without_modes(ours) == umoci.without_modes(unpacked)


@pytest.mark.root
def test_a_full_disk_is_named_and_leaves_no_file(tmp_path):
    """On a small filesystem of its own, in a namespace of its own."""
    script = """
import os, sys
from pathlib import Path
from shifter_imagegw.formats import squashfs
from shifter_imagegw.errors import ConversionError
image = Path(sys.argv[1]) / "image"
def write(out):
    info = __import__("tarfile").TarInfo("random")
    info.size = 64 << 20
    out.write(info.tobuf())
    for _ in range(64):
        out.write(os.urandom(1 << 20))
try:
    squashfs.make(write, image)
except ConversionError as error:
    print(error, image.exists())
"""
    mount = 'mount -t tmpfs -o size=8m none "$0" && "$1" -c "$2" "$0"'

    seen = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", mount,
         tmp_path, sys.executable, script],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip

    assert f"cannot write {tmp_path}/image: No space left on device" in seen
    assert seen.endswith("False\n")


def test_a_killed_worker_leaves_no_tool_behind(tmp_path):
    """It would go on and make a file of what it got, which the next pull may be writing to."""
    script = """
import sys, time
from pathlib import Path
from shifter_imagegw.formats import squashfs
def write(out):
    out.write(bytes(1 << 20))
    print("writing", flush=True)
    time.sleep(1000)
squashfs.make(write, Path(sys.argv[1]))
"""
    image = tmp_path / "image"
    worker = subprocess.Popen([sys.executable, "-c", script, image], stdout=subprocess.PIPE)
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"writing\n"
        (tool,) = _children(worker.pid)
        descriptor = os.pidfd_open(tool)
        worker.send_signal(signal.SIGKILL)

    _wait_for_end(descriptor)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _wait_for_end(descriptor: int) -> None:
    with os.fdopen(descriptor, "rb"):
        ready, _, _ = select.select([descriptor], [], [], 10)
    assert ready, "the tool outlived the worker"


def test_a_missing_tool_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ConversionError, match="'tar2sqfs': install .* squashfs-tools-ng"):
        squashfs.make(lambda out: None, tmp_path / "image")
