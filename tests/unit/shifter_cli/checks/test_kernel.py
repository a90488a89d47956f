# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import errno
import os

import pytest

from shifter_cli.checks import kernel
from shifter_runtime import syscalls


def states(matters):
    return [(matter.name, matter.state.value) for matter in matters]


@pytest.fixture
def texts(monkeypatch):
    """Files of the kernel's, with this in them; others are not there."""
    found = {}
    monkeypatch.setattr(kernel, "content_of", lambda path: found.get(path, ""))
    return found


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ("5.11.9", "wrong"), ("4.18.0-553.el8.x86_64", "wrong"), ("5.12.0", "ok"),
        ("5.14.0-427.el9.x86_64", "ok"), ("6.1.0-13-amd64", "ok"), ("6.18+", "ok"),
    ],
)  # fmt: skip
def test_a_kernel_is_new_enough_or_not(release, state):
    (matter,) = kernel._version(release)

    assert matter.state == state


def test_a_filesystem_is_there_or_can_be_loaded_or_is_missing(texts):
    release = os.uname().release
    texts["/proc/filesystems"] = "nodev\ttmpfs\n\text4\n"
    texts[f"/lib/modules/{release}/modules.dep"] = "kernel/fs/overlayfs/overlay.ko.xz: a.ko\n"
    texts[f"/lib/modules/{release}/modules.builtin"] = "kernel/fs/xfs/xfs.ko\n"

    found = [matter for name in ("tmpfs", "overlay", "xfs", "squashfs")
             for matter in kernel._filesystem(name)]  # fmt: skip

    assert states(found) == [
        ("tmpfs", "ok"), ("overlay", "ok"), ("xfs", "ok"), ("squashfs", "wrong"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ("CONFIG_SQUASHFS=m\nCONFIG_SQUASHFS_ZSTD=y\n", "ok"),
        ("CONFIG_SQUASHFS=m\n# CONFIG_SQUASHFS_ZSTD is not set\n", "wrong"),
        (None, "skipped"),
    ],
)
def test_whether_images_of_zstd_can_be_read_is_asked_of_the_kernel(monkeypatch, settings, state):
    monkeypatch.setattr(kernel, "_kernel_settings", lambda: settings)

    (matter,) = kernel._compression()

    assert matter.state == state


@pytest.mark.parametrize(
    ("number", "state"),
    [(errno.ENOSYS, "wrong"), (errno.EBADF, "ok"), (None, "ok")],
)
def test_a_call_is_there_unless_the_kernel_says_it_has_none(number, state):
    def attempt():
        if number is not None:
            raise OSError(number, os.strerror(number))

    (matter,) = kernel._call("openat2", attempt)

    assert matter.state == state


def test_namespaces_that_may_not_be_made_are_told_of(texts):
    texts["/proc/sys/user/max_user_namespaces"] = "0\n"
    texts["/proc/sys/user/max_mnt_namespaces"] = "100\n"

    assert states(kernel._namespaces()) == [
        ("mnt_namespaces", "ok"), ("user_namespaces", "wrong"),
    ]  # fmt: skip


@pytest.mark.parametrize(("uid", "state"), [(1000, "skipped"), (0, "ok")])
def test_a_free_loop_device_is_asked_for_by_root(monkeypatch, tmp_path, uid, state):
    control = tmp_path / "loop-control"
    control.touch()
    monkeypatch.setattr(kernel, "_LOOP_CONTROL", str(control))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(syscalls, "control", lambda *_: (5, b""))
    monkeypatch.setattr(os.path, "exists", lambda _path: True)

    assert ("loop_free", state) in states(kernel.loop_devices())


def test_a_kernel_that_has_no_free_loop_device_is_quoted(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    control = tmp_path / "loop-control"
    control.touch()
    monkeypatch.setattr(kernel, "_LOOP_CONTROL", str(control))
    monkeypatch.setattr(syscalls, "control", full)

    (matter,) = kernel._free_device()

    assert (matter.state, "No space left on device" in matter.text) == ("wrong", True)


def test_a_node_without_the_loop_module_is_told_what_to_load(monkeypatch, tmp_path):
    monkeypatch.setattr(kernel, "_LOOP_CONTROL", str(tmp_path / "none"))

    (matter,) = kernel.loop_devices()

    assert (matter.state, "modprobe loop" in matter.text) == ("wrong", True)
