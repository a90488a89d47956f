# SPDX-License-Identifier: BSD-3-Clause
"""Images of every format run alike, and those that root must not rely on run not at all."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from shifter_imagegw.rules.exports import SAVING
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, host_state, make_setuid_shell

pytestmark = pytest.mark.root

MADE = ["ext4", "xfs", "VFS"]


def use(node, format, make=None, **options):
    """Have this image, and no other, on the node."""
    node.add_image(make, format=format, **options)
    (node.images / f"{IMAGE_ID}.squashfs").unlink(missing_ok=True)
    return node.images / f"{IMAGE_ID}.{format}"


@pytest.mark.parametrize("format", MADE)
def test_a_user_runs_a_program_of_the_image(node, format):
    use(node, format, lambda tree: (tree / "data/file").write_text("from the image\n"))

    assert node.shell("id -u; cat /data/file") == f"{ALICE}\nfrom the image\n"


@pytest.mark.parametrize("format", MADE)
def test_nobody_writes_to_the_image(node, format):
    def make(tree):
        (tree / "data/open").write_text("as it was")
        (tree / "data/open").chmod(0o666)
        (tree / "data").chmod(0o1777)

    use(node, format, make)

    done = node.run("sh", "-c", "touch /data/new; echo changed > /data/open; cat /data/open")

    assert done.stdout == "as it was"
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.parametrize("format", MADE)
def test_what_is_written_into_a_writable_root_stays_out_of_the_image(node, format):
    def make(tree):
        (tree / "data/open").write_text("as it was\n")
        (tree / "data/open").chmod(0o666)

    use(node, format, make)
    node.configure(mountUdiRootWritable=1)

    written = node.shell("echo changed > /data/open; cat /data/open")

    assert written == "changed\n"
    assert node.shell("cat /data/open") == "as it was\n"


@pytest.mark.parametrize("format", MADE)
def test_set_id_programs_and_devices_of_the_image_are_inert(node, format):
    def make(tree):
        make_setuid_shell(tree)
        os.mknod(tree / "data/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))

    use(node, format, make)

    assert node.run("/bin/busybox-suid", "id", "-u").stdout == f"{ALICE}\n"
    assert "Permission denied" in node.run("cat", "/data/zero").stderr


@pytest.mark.parametrize("format", MADE)
def test_no_mount_of_the_node_is_left_to_be_found(node, format):
    use(node, format)

    places = {line.split()[1] for line in node.run("cat", "/proc/mounts").stdout.splitlines()}

    assert not any(place.startswith(str(node.prefix)) for place in places)


def test_launches_of_an_ext4_image_share_one_loop_device(node):
    use(node, "ext4")

    running = [node.start("sh", "-c", "echo ready; exec sleep 30") for _ in range(3)]
    try:
        ready = [process.stdout.readline() for process in running]
        devices = host_state(node.prefix)
    finally:
        for process in running:
            process.kill()
            process.communicate()

    assert ready == ["ready\n"] * 3
    assert len(devices) == 1


def test_an_ext4_image_that_was_not_unmounted_cleanly_runs_without_being_written_to(node):
    image = use(node, "ext4")
    # As the kernel marks one whose journal holds what is to be replayed.
    subprocess.run(["debugfs", "-w", "-R", "feature needs_recovery", image], check=True,
                   capture_output=True)  # fmt: skip
    before = image.read_bytes()

    assert node.run("id", "-u").stdout == f"{ALICE}\n"
    assert image.read_bytes() == before


@pytest.mark.parametrize("option", [["-e", "panic"], ["-E", "mount_opts=errors=panic"]])
def test_a_damaged_ext4_image_cannot_halt_the_node(node, option):
    image = use(node, "ext4")
    subprocess.run(["tune2fs", *option, image], check=True, capture_output=True)

    process = node.start("sh", "-c", "echo ready; exec sleep 30")
    try:
        process.stdout.readline()
        (device,) = (
            path.parents[1].name
            for path in Path("/sys/block").glob("loop*/loop/backing_file")
            if path.read_text() == f"{image}\n"
        )
        options = Path(f"/proc/fs/ext4/{device}/options").read_text().split()
    finally:
        process.kill()
        process.communicate()

    assert "errors=continue" in options


def test_the_plan_binds_a_directory_where_it_would_mount_a_file(node):
    image = use(node, "VFS")

    plan = node.run("--dry-run", "true").stdout

    assert plan.startswith(f"bind {image} on {node.prefix}/loop (ro,nosuid,nodev)\n")


def test_a_directory_image_is_nobodys_but_the_gateways_and_still_read_inside(node):
    image = use(node, "VFS")

    assert stat.S_IMODE(image.stat().st_mode) == 0o700
    assert node.run("cat", "/etc/os-release").stdout == "ID=busybox\n"


def test_a_directory_image_is_saved_as_the_refusal_to_export_it_says(node):
    def make(tree):
        (tree / "data/file").write_text("from the image\n")
        for path in ["/bin/tar", *_libraries_of("/bin/tar")]:
            (tree / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tree / path[1:])

    use(node, "VFS", make)

    # Its shell has a tar of its own.
    sent = node.shell(f"/bin/{SAVING.partition(' >')[0]} | /bin/busybox base64")

    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(sent))) as saved:
        assert saved.extractfile("./data/file").read() == b"from the image\n"
        assert saved.getmember("./bin/sh").linkname == "busybox"
        assert not [name for name in saved.getnames() if name.startswith("./proc/")]


def _libraries_of(program: str) -> list[str]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for word in listed.split() if word.startswith("/")]


def replaced_by_link(image: Path) -> str:
    image.rename(image.with_suffix(".elsewhere"))
    image.symlink_to(image.with_suffix(".elsewhere"))
    return "Too many levels of symbolic links"


def owned_by_user(image: Path) -> str:
    os.chown(image, ALICE, ALICE)
    return f"belongs to user {ALICE}, who does not write images here (imageOwners)"


def writable_by_all(image: Path) -> str:
    image.chmod(0o777)
    return "is writable by others (mode 0777)"


def a_file(image: Path) -> str:
    shutil.rmtree(image)
    image.write_text("not a directory")
    return "is not a directory"


def missing(image: Path) -> str:
    shutil.rmtree(image)
    return "does not exist; pull the image again"


@pytest.mark.parametrize(
    "harm", [replaced_by_link, owned_by_user, writable_by_all, a_file, missing]
)
def test_a_directory_that_root_must_not_rely_on_is_refused(node, harm):
    problem = harm(use(node, "VFS"))

    done = node.run("true")

    assert done.returncode == 1
    assert problem in done.stderr


def test_a_format_that_no_runtime_mounts_is_named(node):
    (node.images / f"{IMAGE_ID}.meta").write_text("FORMAT: cramfs\n")

    done = node.run("true")

    assert "has format cramfs, which cannot be mounted" in done.stderr
    assert "squashfs, ext4, xfs, VFS" in done.stderr


@pytest.mark.parametrize("compressor", ["gzip", "lzo", "xz", "lz4", "zstd"])
def test_squashfs_of_every_compressor_runs(node, compressor):
    node.add_image(compressor=compressor)

    assert node.run("cat", "/etc/os-release").stdout == "ID=busybox\n"


def test_a_compressor_that_the_kernel_lacks_is_named(node):
    node.add_image(compressor="lzma")

    done = node.run("true")

    assert done.returncode == 1
    assert "this node's kernel may lack the compressor lzma" in done.stderr


def test_two_xfs_images_with_one_uuid_run_beside_each_other(node):
    first = use(node, "xfs")
    other = "b" * 64
    shutil.copy(first, node.images / f"{other}.xfs")
    shutil.copy(first.with_suffix(".meta"), node.images / f"{other}.meta")

    running = node.start("sh", "-c", "echo ready; exec sleep 30")
    try:
        assert running.stdout.readline() == "ready\n"
        beside = node.run("id", "-u", image=f"id:{other}")
    finally:
        running.kill()
        running.communicate()

    assert (beside.stdout, beside.stderr) == (f"{ALICE}\n", "")


def cut_off(image: Path) -> str:
    os.truncate(image, image.stat().st_size // 2 & ~4095)
    return f"it is cut off: it promises .* bytes and has {image.stat().st_size}; pull the image"


def emptied(image: Path) -> str:
    os.truncate(image, 0)
    return f"it is no {image.suffix[1:]} file; pull the image again"


def overwritten(image: Path) -> str:
    image.write_bytes(os.urandom(1 << 20))
    return f"it is no {image.suffix[1:]} file; pull the image again"


def scribbled_on(image: Path) -> str:
    """The magic number and the size stay what they are, and all else of the first block not."""
    kept = {"squashfs": (0, 48), "ext4": (1024, 1088), "xfs": (0, 16)}[image.suffix[1:]]
    content = bytearray(image.read_bytes())
    for position in range(4096):
        if not kept[0] <= position < kept[1]:
            content[position] ^= 0xA5
    image.write_bytes(content)
    return "damaged"


@pytest.mark.parametrize("harm", [cut_off, emptied, overwritten, scribbled_on])
@pytest.mark.parametrize("format", ["squashfs", "ext4", "xfs"])
def test_a_damaged_image_is_told_from_a_missing_one(node, format, harm):
    image = use(node, format) if format != "squashfs" else node.add_image()
    problem = harm(image)

    done = node.run("true")

    assert done.returncode == 1
    assert re.search(f"^shifter: cannot mount image {image}: .*{problem}", done.stderr), done.stderr
    assert done.stderr.count("\n") == 1


def test_damage_inside_an_image_is_an_error_of_the_program_that_meets_it(node):
    # Of half as much information as it has bytes, so that it is compressed and damage is seen.
    text = os.urandom(1 << 20).hex()
    image = node.add_image(lambda tree: (tree / "data/file").write_text(text))
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        file.write(os.urandom(1 << 16))

    done = node.run("sh", "-c", "cat /data/file /bin/busybox > /dev/null")

    assert done.returncode != 0
    assert "shifter: internal" not in done.stderr


@pytest.mark.parametrize("format", ["squashfs", "ext4", "xfs"])
@pytest.mark.parametrize(
    ("owner", "mode", "problem"),
    [
        (ALICE, 0o600, f"belongs to user {ALICE}, who does not write images here (imageOwners)"),
        (BOB, 0o600, f"belongs to user {BOB}, who does not write images here (imageOwners)"),
        (0, 0o620, "is writable by others (mode 0620)"),
        (0, 0o602, "is writable by others (mode 0602)"),
    ],
)
@pytest.mark.parametrize("which", ["image", "metadata"])
def test_a_file_that_others_could_have_written_is_refused(
    node, format, owner, mode, problem, which
):
    image = use(node, format) if format != "squashfs" else node.add_image()
    file = image if which == "image" else image.with_suffix(".meta")
    file.chmod(mode)
    os.chown(file, owner, owner)

    done = node.run("true")

    assert done.returncode == 1
    assert f"{file} {problem}" in done.stderr


@pytest.mark.parametrize("owner", ["bob", str(BOB)])
def test_accounts_that_the_site_names_may_write_images(node, owner):
    image = node.add_image()
    for file in (image, image.with_suffix(".meta")):
        os.chown(file, BOB, BOB)
    assert node.run("true").returncode == 1

    node.configure(imageOwners=owner)

    assert node.run("id", "-u").stdout == f"{ALICE}\n"


def test_metadata_of_a_later_version_is_read_and_told_only_when_asked(node):
    node.add_image(meta="LABEL: x=y\nUSER: somebody\nSTREAM: yes\nSTOPSIGNAL: 9\n")

    quiet, loud = node.run("true"), node.run("--verbose", "true")

    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert loud.stdout == ""
    assert "STOPSIGNAL" in loud.stderr
