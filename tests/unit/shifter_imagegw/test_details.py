# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.details import BuildStep, ImageDetails, Layer

STEP = BuildStep("2026-01-01T00:00:00Z", "RUN make", "", False)
LAYER = Layer("sha256:" + "a" * 64, 5, "application/vnd.oci.image.layer.v1.tar+gzip")


def details(**changes):
    told = {"created": "2026", "author": "a", "user": "7:8", "layers": [LAYER], "history": [STEP]}
    return ImageDetails.bounded(**(told | changes))


def test_what_an_image_says_is_kept_as_it_is():
    kept = ImageDetails.from_text(details().to_text())

    assert kept == details()
    assert (kept.layers, kept.history, kept.is_cut) == ((LAYER,), (STEP,), False)
    assert kept.user == "7:8"


def test_a_part_of_a_users_name_is_taken_for_no_user():
    assert details(user="u" * 200).user is None


def test_what_an_image_does_not_say_is_not_known():
    kept = details(created=None, author=None, user=None, layers=None, history=[])

    assert kept == ImageDetails()


@pytest.mark.parametrize(
    "hostile",
    [
        {"history": [STEP] * 100_000},
        {"history": [BuildStep("x" * 10**6, "y" * 10**6, "z" * 10**6, True)] * 10_000},
        {"layers": [LAYER] * 100_000},
        {"layers": [Layer(LAYER.digest, 1, "m" * 10**6)] * 1024},
        {"author": "a" * 10**6},
        {"created": "c" * 10**6},
        {"user": "u" * 10**6},
    ],
    ids=["steps", "long steps", "layers", "media types", "author", "created", "user"],
)
def test_no_image_takes_more_than_its_share_and_what_is_cut_is_said_to_be(hostile):
    kept = details(**hostile)

    assert len(kept.to_text()) < 1_000_000
    assert kept.to_wire()["truncated"] is True


def test_any_text_of_an_image_is_one_that_every_database_holds():
    kept = details(author="\0\ud800é\n", history=[BuildStep("", "\udfff\0", "é", False)])

    text = kept.to_text()

    assert text.isascii()
    assert "\n" not in text
    assert ImageDetails.from_text(text) == kept
