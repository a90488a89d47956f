# SPDX-License-Identifier: BSD-3-Clause
"""Trees of hostile images: as deep as Linux lets them be, and full of links."""

from __future__ import annotations

import os

from shifter_imagegw.delivery import files


def test_the_size_of_a_tree_is_that_of_its_files(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/f").write_bytes(b"12345")
    (tmp_path / "a/b/g").write_bytes(b"678")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/h").write_bytes(b"9")
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "c/link").symlink_to("/etc/passwd")

    assert files.size_of(tmp_path) == 9


def test_a_tree_of_any_depth_is_measured_and_removed(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    here = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(file, b"12345")
    os.close(file)
    os.close(here)

    size = files.size_of(tree)
    files.remove(tree)

    assert size == 5
    assert not tree.exists()


def test_a_directory_that_its_owner_may_not_enter_is_no_obstacle(tmp_path):
    for mode in (0o000, 0o400, 0o600, 0o100, 0o300):
        closed = tmp_path / f"{mode:03o}"
        (closed / "below").mkdir(parents=True)
        (closed / "file").write_bytes(b"12345")
        closed.chmod(mode)
    (tmp_path / "file").write_bytes(b"123")

    assert files.size_of(tmp_path) == 3
