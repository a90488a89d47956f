# SPDX-License-Identifier: BSD-3-Clause
"""How a path is gone down: names, links, ends. What root relies on is tested as root."""

from __future__ import annotations

import os

import pytest

from shifter_runtime import trust
from shifter_runtime.errors import UntrustedPathError


def read(path: str) -> bytes:
    fd = trust.open_untouchable(path)
    try:
        return os.read(fd, 16)
    finally:
        os.close(fd)


@pytest.mark.parametrize("path", ["/etc/passwd", "//etc/./passwd", "/etc/../etc/passwd"])
def test_a_file_of_the_system_can_be_relied_on(path):
    assert read(path)


@pytest.mark.parametrize("path", ["etc/passwd", ""])
def test_a_path_is_absolute(path):
    with pytest.raises(UntrustedPathError, match="is not an absolute path"):
        read(path)


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/", "/etc/."])
def test_a_directory_is_no_file(path):
    with pytest.raises(UntrustedPathError, match="is the root directory|is not a regular file"):
        read(path)


def test_a_tree_of_the_system_can_be_relied_on():
    os.close(trust.open_untouchable_tree("/etc/default"))


def test_a_tree_in_which_others_may_make_entries_later_cannot_be_relied_on():
    with pytest.raises(UntrustedPathError, match="/dev/shm is writable by others than root"):
        trust.open_untouchable_tree("/dev/shm")


def test_a_file_is_no_tree():
    with pytest.raises(UntrustedPathError, match="Not a directory"):
        trust.open_untouchable_tree("/etc/passwd")


def test_no_descriptor_is_left_open():
    before = len(os.listdir("/proc/self/fd"))

    for path in ("/etc/passwd/x", "/no/such/thing", "/etc"):
        with pytest.raises(UntrustedPathError):
            trust.open_untouchable(path)
    os.close(trust.open_untouchable_tree("/etc/default"))

    assert len(os.listdir("/proc/self/fd")) == before
