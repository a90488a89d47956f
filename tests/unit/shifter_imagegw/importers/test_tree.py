# SPDX-License-Identifier: BSD-3-Clause
"""Trees that change while they are read, and trees that are the same."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from shifter_imagegw.errors import PullError
from shifter_imagegw.flatten import Limits
from shifter_imagegw.importers import tree
from shifter_imagegw.importers.reach import Rules
from shifter_imagegw.importers.tree import Tree

CHANGED = "the tree changed while it was imported, at 'a/b'"


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    (path / "a").mkdir(parents=True)
    (path / "a/b").write_bytes(b"content")
    (path / "z").write_bytes(b"last")
    return path


def tar_of(root, rules=None, limits=None):
    out = io.BytesIO()
    writer = Tree(out, rules or Rules(None), limits or Limits())
    writer.write(os.open(root, os.O_RDONLY))
    return out.getvalue()


@pytest.fixture
def before_open(monkeypatch, root):
    """`before_open(change)`: between the look at `a/b` and its opening."""
    opened = tree._open

    def use(change):
        def open_late(entry, flags):
            if entry.path == b"a/b":
                change(root / "a/b")
            return opened(entry, flags)

        monkeypatch.setattr(tree, "_open", open_late)

    return use


def replaced_by(make):
    def change(path):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
        make(path)

    return change


@pytest.mark.parametrize("was", ["file", "directory"])
@pytest.mark.parametrize(
    "make",
    [lambda path: None, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo],
    ids=["gone", "link", "pipe"],
)
def test_what_is_replaced_before_it_is_opened_is_not_followed(root, before_open, was, make):
    if was == "directory":
        (root / "a/b").unlink()
        (root / "a/b").mkdir()
    before_open(replaced_by(make))

    with pytest.raises(PullError, match=CHANGED):
        tar_of(root)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 2),
        lambda path: path.write_bytes(b"longer than before"),
        lambda path: os.utime(path, (1, 1)),
    ],
    ids=["shorter", "longer", "written"],
)
def test_a_file_that_is_written_while_it_is_read_is_refused(root, change):
    class Changing(Rules):
        def require(self, descriptor, status, wanted, shown):
            if shown == "'a/b'":
                change(root / "a/b")

    with pytest.raises(PullError, match=CHANGED):
        tar_of(root, Changing(None))


def test_the_same_tree_gives_the_same_bytes_in_whatever_order_it_was_made(tmp_path):
    for place, names in (("one", "abc"), ("two", "cba")):
        for name in names:
            (tmp_path / place / name).mkdir(parents=True)
            (tmp_path / place / name / "f").write_text(name)
        for path in (tmp_path / place, *(tmp_path / place).rglob("*")):
            os.utime(path, (5, 5))

    assert tar_of(tmp_path / "one") == tar_of(tmp_path / "two")


def test_other_content_gives_other_bytes(root):
    before = tar_of(root)

    (root / "z").write_bytes(b"LAST")

    assert tar_of(root) != before


def members_of(root):
    with tarfile.open(fileobj=io.BytesIO(tar_of(root))) as archive:
        return archive.getmembers()


def test_all_belongs_to_root_and_set_id_bits_are_gone(root):
    (root / "z").chmod(0o6755)

    members = members_of(root)

    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert {member.mode for member in members if member.name == "z"} == {0o755}


def test_names_of_whiteouts_are_names(root):
    (root / ".wh.z").write_text("a file")

    assert {"z", ".wh.z"} <= {member.name for member in members_of(root)}


@pytest.mark.parametrize(
    ("limits", "words"), [({"entries": 3}, "MaxEntries"), ({"bytes": 10}, "MaxImageSize")]
)
def test_limits_hold_and_are_named(root, limits, words):
    with pytest.raises(PullError, match=words):
        tar_of(root, limits=Limits(**limits))


def test_pseudo_filesystems_below_are_left_empty():
    rules = Rules(None)
    device = os.stat("/proc").st_dev

    assert device in rules.pseudo_devices
