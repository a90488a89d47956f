# SPDX-License-Identifier: BSD-3-Clause
"""The file behind a cache has no name, or is refused."""

from __future__ import annotations

import contextlib
import os

import pytest

from shifter_runtime import cache_file
from shifter_runtime.errors import SetupError, VolumeError
from shifter_runtime.identity import Identity

SOMEBODY = Identity(
    uid=4001, gid=4002, groups=[4002], name="somebody", gecos="", home="/", shell="",
    group_names=[],
)  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory on a filesystem that cannot make files without a name, and does not list them."""
    monkeypatch.setattr(cache_file, "AsUser", lambda user: contextlib.nullcontext())
    monkeypatch.setattr(cache_file, "_can_list", lambda place: False)
    monkeypatch.setattr(cache_file, "_create_without_name", lambda place, directory: None)
    tmp_path.chmod(0o300)
    yield tmp_path
    tmp_path.chmod(0o700)


def create(place, **changes):
    return cache_file.create(str(place), **({"size": 1 << 20, "user": SOMEBODY} | changes))


def test_a_file_with_a_name_loses_it_at_once(place):
    file = create(place)

    place.chmod(0o700)
    assert list(place.iterdir()) == []
    found = os.fstat(file)
    assert (found.st_nlink, found.st_size, found.st_mode & 0o777) == (0, 1 << 20, 0o600)
    os.close(file)


def test_its_name_tells_whose_it_is_and_cannot_be_guessed(place, monkeypatch):
    names = []
    unlink = os.unlink

    def note(name, **options):
        names.append(name)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", note)
    for _ in range(2):
        os.close(create(place))

    start = f"perNodeCache_uid4001_gid4002_{os.uname().nodename}.xfs."
    assert all(name.startswith(start) and len(name) == len(start) + 32 for name in names)
    assert len(set(names)) == 2


def test_a_filesystem_that_keeps_a_name_is_refused(place, monkeypatch):
    """As NFS does, which renames a file that is removed while it is open."""
    unlink = os.unlink
    kept = []

    def rename(name, dir_fd):
        kept.append(name)
        os.rename(name, ".nfs0001", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", rename)

    with pytest.raises(SetupError, match="keeps names of files which are removed"):
        create(place)
    unlink(place / ".nfs0001")
    assert len(kept) == 1


def test_an_interrupt_leaves_no_file(place, monkeypatch):
    really_open = os.open

    def interrupted(path, flags, *rest, **options):
        opened = really_open(path, flags, *rest, **options)
        if flags & os.O_CREAT:
            os.close(opened)
            raise KeyboardInterrupt
        return opened

    monkeypatch.setattr(os, "open", interrupted)

    with pytest.raises(KeyboardInterrupt):
        create(place)
    place.chmod(0o700)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("mode", [0o1777, 0o1733 | 0o040, 0o1733 | 0o004])
def test_a_directory_that_others_may_list_is_refused(place, mode):
    place.chmod(mode)

    with pytest.raises(SetupError, match="can be listed by others than root"):
        create(place)
    assert list(place.iterdir()) == []


def test_a_directory_that_the_user_may_list_all_the_same_is_refused(place, monkeypatch):
    """By an access list that its mode does not show."""
    monkeypatch.setattr(cache_file, "_can_list", lambda place: True)

    with pytest.raises(SetupError, match="can be listed by you"):
        create(place)


def test_a_size_that_cannot_be_had_is_said(place):
    with pytest.raises(VolumeError, match="cannot make a file of 9223372036854775807 bytes in "):
        create(place, size=2**63 - 1)
