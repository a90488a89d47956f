# SPDX-License-Identifier: BSD-3-Clause
"""Whether a module can run in an image, told from real libraries on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter_cli.modules import fitting
from shifter_cli.modules.errors import CheckError
from shifter_cli.modules.root_tree import RootTree
from tests.shared_objects import make_cache, make_library

LIB = "usr/lib/x86_64-linux-gnu"
CORE = frozenset(["libmpich.so.12"])
NODE_GLIBC = ["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.34", "GLIBC_2.38"]


def verdict_of(module: Path, image: Path) -> fitting.Verdict:
    return fitting.check(RootTree(str(module)), RootTree(str(image)), CORE)


def texts(verdict: fitting.Verdict) -> list[tuple[bool, str]]:
    return [(finding.is_error, str(finding)) for finding in verdict.findings]


@pytest.fixture
def module(tmp_path) -> Path:
    """MPICH that needs GLIBC_2.38, by way of a plug-in that needs less."""
    libc = make_library(tmp_path / "node/libc.so.6", versions=NODE_GLIBC)
    ucs = make_library(tmp_path / "module/lib/libucs.so.0", uses={"GLIBC_2.38": libc})
    make_library(tmp_path / "module/lib/libmpich.so.12", needs=[ucs], uses={"GLIBC_2.17": libc})
    make_library(tmp_path / "module/lib/ucx/libuct_ib.so.0", uses={"GLIBC_2.34": libc})
    return tmp_path / "module"


def image_with(root: Path, *versions: str, directory: str = LIB) -> Path:
    make_library(root / directory / "libc.so.6", versions=versions)
    make_cache(root)
    return root


def test_a_module_fits_an_image_with_a_glibc_that_is_new_enough(module, tmp_path):
    image = image_with(tmp_path / "image", *NODE_GLIBC, "GLIBC_2.41")

    verdict = verdict_of(module, image)

    assert verdict == fitting.Verdict("GLIBC_2.41", "GLIBC_2.38", ())


def test_a_module_that_needs_a_newer_glibc_does_not_fit(module, tmp_path):
    image = image_with(tmp_path / "image", "GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.36")

    verdict = verdict_of(module, image)

    assert not verdict.fits
    assert texts(verdict) == [
        (
            True,
            "libucs.so.0 needs GLIBC_2.38 of libc.so.6; the image's has GLIBC_2.36 at most",
        ),
        (
            True,
            "libuct_ib.so.0 needs GLIBC_2.34 of libc.so.6; the image's has GLIBC_2.36 at most",
        ),
    ]


def test_versions_are_compared_as_numbers(module, tmp_path):
    image = image_with(tmp_path / "image", *NODE_GLIBC, "GLIBC_2.100", "GLIBC_2.4")

    assert verdict_of(module, image).glibc == "GLIBC_2.100"


@pytest.mark.parametrize("directory", ["lib64", "usr/lib64", "lib/x86_64-linux-gnu", "lib"])
def test_glibc_is_found_without_a_cache_where_distributions_have_it(module, tmp_path, directory):
    make_library(tmp_path / "image" / directory / "libc.so.6", versions=NODE_GLIBC)

    assert verdict_of(module, tmp_path / "image").fits


def test_an_image_without_glibc_is_told_to_be_one(module, tmp_path):
    (tmp_path / "image/lib").mkdir(parents=True)
    (tmp_path / "image/lib/ld-musl-x86_64.so.1").write_bytes(b"musl")

    verdict = verdict_of(module, tmp_path / "image")

    assert not verdict.fits
    assert texts(verdict)[0][1].startswith("the image has no glibc of 64 bits for x86_64")


def test_a_look_alike_of_glibc_is_none(module, tmp_path):
    image = image_with(tmp_path / "image")

    assert not verdict_of(module, image).fits


def test_versions_that_libc_took_over_from_other_libraries_are_there(tmp_path):
    pthread = make_library(tmp_path / "node/libpthread.so.0", versions=["GLIBC_2.2.5"])
    make_library(tmp_path / "module/lib/libmpich.so.12", uses={"GLIBC_2.2.5": pthread})
    image = image_with(tmp_path / "image", "GLIBC_2.2.5", "GLIBC_2.36")
    make_library(image / LIB / "libpthread.so.0", versions=["GLIBC_2.36"])

    assert verdict_of(tmp_path / "module", image).fits


@pytest.mark.parametrize(
    ("user", "is_error"), [("libmpich.so.12", True), ("libmpichfort.so.12", False)]
)
def test_a_library_that_neither_has_is_an_error_only_if_all_depends_on_it(user, is_error, tmp_path):
    fortran = make_library(tmp_path / "node/libgfortran.so.5")
    make_library(tmp_path / "module/lib/libmpich.so.12")
    make_library(tmp_path / "module/lib" / user, needs=[fortran])
    image = image_with(tmp_path / "image", "GLIBC_2.36")

    verdict = verdict_of(tmp_path / "module", image)

    assert texts(verdict) == [
        (
            is_error,
            f"{user} needs libgfortran.so.5, which is neither in the module nor in the image",
        )
    ]


def test_a_library_older_than_the_images_own_is_warned_of(tmp_path):
    make_library(tmp_path / "module/lib/libmpich.so.12")
    make_library(tmp_path / "module/lib/libz.so.1", versions=["ZLIB_1.2.9"])
    image = image_with(tmp_path / "image", "GLIBC_2.36")
    make_library(image / LIB / "libz.so.1", versions=["ZLIB_1.2.9", "ZLIB_1.2.12"])

    verdict = verdict_of(tmp_path / "module", image)

    assert verdict.fits
    [(_, text)] = texts(verdict)
    assert text.startswith("libz.so.1 lacks ZLIB_1.2.12, which the image's own has")
    assert text.endswith("--leave-out libz.so.1")


def test_a_directory_without_libraries_cannot_be_checked(tmp_path):
    (tmp_path / "module").mkdir()

    with pytest.raises(CheckError, match="no libraries in"):
        verdict_of(tmp_path / "module", tmp_path)


def test_people_read_once_what_is_wrong_with_several_libraries(tmp_path):
    libc = make_library(tmp_path / "node/libc.so.6", versions=NODE_GLIBC)
    for name in ("libaaa.so.1", "libmpich.so.12", "libzzz.so.1"):
        make_library(tmp_path / "module/lib" / name, uses={"GLIBC_2.38": libc})
    image = image_with(tmp_path / "image", "GLIBC_2.36")

    [finding] = verdict_of(tmp_path / "module", image).grouped()

    assert str(finding) == (
        "libmpich.so.12 needs GLIBC_2.38 of libc.so.6; the image's has GLIBC_2.36 at most "
        "(so do libaaa.so.1, libzzz.so.1)"
    )
