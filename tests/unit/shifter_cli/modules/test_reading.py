# SPDX-License-Identifier: BSD-3-Clause
"""What is read of shared objects, of the loader's cache and of trees, broken ones too."""

from __future__ import annotations

import contextlib
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter_cli.modules import elf, ld_cache
from shifter_cli.modules.errors import NotALibraryError
from shifter_cli.modules.root_tree import RootTree
from tests.shared_objects import make_cache, make_library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    directory = tmp_path_factory.mktemp("library")
    libc = make_library(directory / "libc.so.6", versions=["GLIBC_2.17", "GLIBC_2.36"])
    return make_library(
        directory / "libuser.so.1.2", soname="libuser.so.1", uses={"GLIBC_2.36": libc},
        versions=["USER_1"], runpath="$ORIGIN/deep:/opt/lib",
    )  # fmt: skip


def test_a_library_tells_its_name_and_what_it_needs_and_provides(library):
    with library.open("rb") as file:
        found = elf.read(file, str(library))

    assert (found.bits, found.machine, found.soname) == (64, "EM_X86_64", "libuser.so.1")
    assert (found.needed, found.runpath, found.rpath) == (
        *(("libc.so.6",), ("$ORIGIN/deep", "/opt/lib"), ()),
    )
    assert found.needed_versions == {"libc.so.6": {"GLIBC_2.36"}}
    assert found.versions >= {"USER_1"}


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\2\1\1" + b"\0" * 57]
)
def test_what_is_no_library_is_said_to_be_none(content):
    with pytest.raises(NotALibraryError, match="^/x/y is (not|a broken)"):
        elf.read(io.BytesIO(content), "/x/y")


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_broken_library_is_read_or_refused_and_nothing_else(library, data):
    content = bytearray(library.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(0, len(content)))

    for text in (content, content[:size]):
        with contextlib.suppress(NotALibraryError):
            elf.read(io.BytesIO(bytes(text)), "x")


def test_the_loaders_cache_is_read_as_ldconfig_wrote_it(tmp_path):
    make_library(tmp_path / "usr/lib/libwide.so.1")
    make_library(tmp_path / "usr/lib32/libnarrow.so.2", bits=32)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.conf").write_text("/usr/lib32\n")
    make_cache(tmp_path)

    found = ld_cache.parse((tmp_path / "etc/ld.so.cache").read_bytes())

    assert sorted(found) == [
        ("libnarrow.so.2", "/usr/lib32/libnarrow.so.2"),
        ("libwide.so.1", "/usr/lib/libwide.so.1"),
    ]


def test_a_cache_behind_one_of_the_old_format_is_read(tmp_path):
    make_library(tmp_path / "usr/lib/libwide.so.1")
    make_cache(tmp_path)
    content = (tmp_path / "etc/ld.so.cache").read_bytes()

    found = ld_cache.parse(b"ld.so-1.7.0\0" + b"\0" * 4 + content)

    assert found == [("libwide.so.1", "/usr/lib/libwide.so.1")]


@given(st.binary(max_size=200), st.booleans())
def test_a_broken_cache_holds_nothing_or_little(content, is_named):
    start = b"glibc-ld.so.cache1.1" if is_named else b""

    for _, path in ld_cache.parse(start + content):
        assert path.startswith("/")


def test_links_of_a_tree_lead_nowhere_but_into_it(tmp_path):
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/libx.so.1").write_text("inside")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc").mkdir()
    (root / "etc/absolute").symlink_to("/lib/libx.so.1")
    (root / "etc/above").symlink_to("../../../../usr/lib/libx.so.1")
    (root / "etc/loop").symlink_to("loop")
    (root / "etc/outside").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("outside")

    tree = RootTree(str(root))

    assert tree.resolve("/etc/absolute") == "/usr/lib/libx.so.1"
    assert tree.resolve("/etc/above") == "/usr/lib/libx.so.1"
    assert tree.resolve("/etc/loop") is None
    assert tree.open("/etc/outside") is None
    assert tree.names("/lib") == ["libx.so.1"]


def test_a_pipe_in_a_tree_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "libc.so.6")

    assert RootTree(str(tmp_path)).open("/libc.so.6") is None
