# SPDX-License-Identifier: BSD-3-Clause
"""On a kernel that cannot lend the image's files, a writable root is still one, and it is said."""

from __future__ import annotations

import errno
import os

import pytest

from shifter_runtime import id_mapping, syscalls
from shifter_runtime.identity import Identity
from shifter_runtime.operations.root import MountRoot
from shifter_runtime.operations.writable import MountWritableRoot
from shifter_runtime.udi import Udi

ALICE = Identity(
    uid=1001, gid=1002, groups=[1002], name="alice", gecos="", home="/", shell="/bin/sh",
    group_names=[],
)  # fmt: skip


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """What is asked of a kernel, which can all of it; a test makes it unable."""
    asked: list[str] = []
    monkeypatch.setattr(syscalls, "clone_tree", lambda *_, **__: os.open("/", os.O_RDONLY))
    monkeypatch.setattr(id_mapping, "open_namespace", lambda *_: os.open("/", os.O_RDONLY))
    monkeypatch.setattr(syscalls, "map_owners", lambda *_: asked.append("lend"))
    monkeypatch.setattr(syscalls, "attach", lambda *_: asked.append("attach"))
    monkeypatch.setattr(syscalls, "detach", lambda path: asked.append(f"detach {path[-5:]}"))
    monkeypatch.setattr(os, "chown", lambda *_, **__: asked.append("chown"))

    def mount(_self):
        asked.append("overlay")
        return Udi(str(tmp_path), os.open(tmp_path, os.O_RDONLY))

    monkeypatch.setattr(MountRoot, "execute", mount)
    return asked


def execute(tmp_path, *, lend: bool = True) -> Udi:
    for name in ("image", "place"):
        (tmp_path / name).mkdir()
    root = MountWritableRoot(str(tmp_path / "image"), str(tmp_path / "place"), ALICE, 0, lend=lend)
    return root.execute()


def failing(number: int, times: int = 99):
    left = [times]

    def fail(*_args):
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), "thing")
        return Udi("/", os.open("/", os.O_RDONLY))

    return fail


def test_the_image_is_lent_below_the_overlay(kernel, tmp_path, capfd):
    udi = execute(tmp_path)

    assert kernel == ["lend", "attach", "overlay", "chown"]
    assert list(udi.devices.values()) == [(1001, 1002)]
    assert capfd.readouterr().err == ""


def test_what_the_user_named_himself_is_not_lent(kernel, tmp_path):
    execute(tmp_path, lend=False)

    assert kernel == ["overlay", "chown"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC, errno.EPERM, errno.ENOSYS])
def test_without_id_mapped_mounts_the_image_is_used_as_it_is(
    kernel, tmp_path, monkeypatch, capfd, number
):
    monkeypatch.setattr(syscalls, "map_owners", failing(number))

    execute(tmp_path)

    assert kernel == ["overlay", "chown"]
    assert "you may write only where their permissions let you" in capfd.readouterr().err


def test_an_overlay_that_takes_no_lent_image_gets_the_plain_one(
    kernel, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(MountRoot, "execute", failing(errno.EINVAL, times=1))

    execute(tmp_path)

    assert kernel == ["lend", "attach", "detach place", "detach image", "chown"]
    assert "you may write only where" in capfd.readouterr().err


def test_any_other_failure_stays_one(kernel, tmp_path, monkeypatch):
    monkeypatch.setattr(syscalls, "map_owners", failing(errno.ENOMEM))

    with pytest.raises(OSError, match="Cannot allocate memory"):
        execute(tmp_path)
