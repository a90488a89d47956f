# SPDX-License-Identifier: BSD-3-Clause
"""What the doctor says of a node, of which a directory holds the kernel's files."""

from __future__ import annotations

import os

import pytest

from shifter_cli.doctor import node
from shifter_cli.doctor.findings import Level
from shifter_runtime import request as requests

RELEASE = "6.1.0-18-amd64"
GIB = 1 << 30


@pytest.fixture
def here(tmp_path):
    return node.Node(str(tmp_path))


@pytest.fixture
def put(tmp_path):
    """`put("proc/filesystems", TEXT)`"""

    def put(path, text=""):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return put


def levels(findings):
    return [finding.level for finding in findings]


def test_a_kernel_with_both_filesystems_will_do(here, put):
    put("proc/filesystems", "nodev\toverlay\n\tsquashfs\n")

    assert levels(node.kernel("squashfs", here, RELEASE)) == [Level.OK]


@pytest.mark.parametrize("listing", ["dep", "builtin"])
def test_a_filesystem_that_the_kernel_loads_when_needed_will_do(here, put, listing):
    put("proc/filesystems", "nodev\toverlay\n")
    put(f"lib/modules/{RELEASE}/modules.{listing}", "kernel/fs/squashfs/squashfs.ko:\n")

    assert levels(node.kernel("squashfs", here, RELEASE)) == [Level.OK]


def test_a_kernel_without_the_format_is_a_problem(here, put):
    put("proc/filesystems", "nodev\toverlay\n")

    (finding,) = node.kernel("squashfs", here, RELEASE)

    assert finding.level is Level.PROBLEM
    assert finding.text == f"Linux {RELEASE} of this node has no squashfs"
    assert finding.advice.endswith("modprobe squashfs")


def test_a_directory_needs_no_filesystem_of_its_own(here, put):
    put("proc/filesystems", "nodev\toverlay\n")

    assert levels(node.kernel("VFS", here, RELEASE)) == [Level.OK]
    assert list(node.loop_devices("VFS", here)) == []


@pytest.mark.parametrize(("release", "level"), [("5.11.2", "problem"), ("5.12.0-rc1", "ok")])
def test_a_kernel_that_is_too_old_is_a_problem(here, put, release, level):
    put("proc/filesystems", "nodev\toverlay\n\tsquashfs\n")

    assert [one.level.value for one in node.kernel("squashfs", here, release)] == [level]


def test_a_node_without_loop_devices_is_a_problem(here):
    (finding,) = node.loop_devices("squashfs", here)

    assert (finding.level, finding.advice) == (
        Level.PROBLEM,
        "ask the site's support to load it: modprobe loop",
    )


def test_loop_devices_in_use_are_counted(here, put):
    put("dev/loop-control")
    put("sys/block/loop0/loop/backing_file", "/images/a.squashfs\n")
    put("sys/block/loop1/size", "0")

    (finding,) = node.loop_devices("squashfs", here)

    assert finding.text.startswith("1 loop device in use")


@pytest.mark.parametrize(
    ("architecture", "machine", "levels"),
    [
        ("amd64", "x86_64", []),
        ("", "x86_64", []),
        ("arm64", "x86_64", ["problem"]),
        ("arm64", "aarch64", []),
        ("ppc64le", "ppc64le", []),
    ],
)
def test_an_image_for_other_processors_is_a_problem(architecture, machine, levels):
    assert [one.level.value for one in node.processor(architecture, machine)] == levels


# The image's file


def test_the_file_of_an_image_is_found_with_its_size(here, put, tmp_path):
    (tmp_path / "aa.squashfs").write_bytes(b"x" * 2000)
    put("sys/block/loop0/loop/backing_file", f"{tmp_path}/aa.squashfs\n")
    put("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:3 / /other rw - nfs x rw\n")

    (finding,) = node.file(str(tmp_path), "aa", here)

    assert finding.level is Level.OK
    assert (
        finding.text == f"{tmp_path}/aa.squashfs: 2.0 kB, on ext4 and mounted by somebody already"
    )


def test_an_image_that_is_not_on_this_node_is_a_problem(here, tmp_path):
    (finding,) = node.file(str(tmp_path), "aa", here)

    assert finding.level is Level.PROBLEM
    assert f"no file of the image in {tmp_path}" in finding.text


def test_a_directory_of_images_that_is_not_there_is_a_problem(here, tmp_path):
    (finding,) = node.file(str(tmp_path / "none"), "aa", here)

    assert (finding.level, "is not there" in finding.text) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/images/a", "lustre"), ("/images2/a", "ext4"), ("/images/with space/a", "nfs")],
)
def test_the_filesystem_of_a_path_is_that_of_the_nearest_mount(here, put, path, kind):
    put(
        "proc/self/mountinfo",
        "1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:3 / /images rw shared:1 - lustre x rw\n"
        "3 1 0:4 / /images/with\\040space rw - nfs x rw\n",
    )

    assert node.filesystem_of(path, here) == kind


# Memory


def request(*words):
    return requests.parse(["--image=docker:x:1", *words], {})


def test_a_launch_that_keeps_nothing_in_memory_asks_for_none(here, put):
    put("proc/meminfo", "MemAvailable:    1048576 kB\n")

    assert list(node.memory(request(), here)) == []


def test_what_fits_into_memory_will_do(here, put):
    put("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    4194304 kB\n")

    asked = request("--writable=1G", "--mount=tmpfs:/a:size=2G")

    assert levels(node.memory(asked, here)) == [Level.OK]


def test_what_does_not_fit_into_memory_is_a_problem(here, put):
    put("proc/meminfo", "MemAvailable:    4194304 kB\n")

    (finding,) = node.memory(request("--writable=3G", "--mount=tmpfs:/a:size=2G"), here)

    assert finding.level is Level.PROBLEM
    assert "--writable and --mount at /a may grow to 5.4 GB, but 4.3 GB" in finding.text.replace(
        "--mount at /a and --writable", "--writable and --mount at /a"
    )


def test_what_has_no_limit_is_told(here, put):
    put("proc/meminfo", "MemAvailable:    4194304 kB\n")

    (finding,) = node.memory(request("--writable"), here)

    assert (finding.level, finding.advice) == (Level.NOTE, "write --writable=2G")


@pytest.mark.parametrize(
    ("line", "directory", "names"),
    [
        ("0::/slurm/job_1/step", "sys/fs/cgroup/slurm/job_1", ("memory.max", "memory.current")),
        (
            "4:cpu,memory:/job_1",
            "sys/fs/cgroup/memory/job_1",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ),
    ],
)
def test_the_memory_of_a_job_is_what_its_control_group_leaves(here, put, line, directory, names):
    put("proc/meminfo", "MemAvailable:    8388608 kB\n")
    put("proc/self/cgroup", f"9:pids:/x\n{line}\n")
    put(f"{directory}/{names[0]}", f"{3 * GIB}\n")
    put(f"{directory}/{names[1]}", f"{GIB}\n")

    assert node.available_memory(here) == 2 * GIB


def test_a_control_group_without_a_limit_leaves_the_node_s_memory(here, put):
    put("proc/meminfo", "MemAvailable:    1048576 kB\n")
    put("proc/self/cgroup", "0::/x\n")
    put("sys/fs/cgroup/x/memory.max", "max\n")
    put("sys/fs/cgroup/x/memory.current", "5\n")

    assert node.available_memory(here) == GIB


def test_memory_of_which_nothing_is_known_is_not_talked_about(here):
    assert list(node.memory(request("--writable=1G"), here)) == []


def test_this_machine_is_understood():
    real = node.Node()

    assert node.available_memory(real)
    assert node.filesystem_of("/proc/self", real) == "proc"
    assert list(node.kernel("squashfs", real, os.uname().release))
