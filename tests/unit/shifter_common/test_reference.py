# SPDX-License-Identifier: BSD-3-Clause
"""Image references, against those that were typed to the original."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter_common.errors import InvalidReferenceError
from shifter_common.reference import ImageReference, is_image_id

GOLDEN = Path(__file__).parents[2] / "golden" / "references.tsv"


def recorded() -> list[tuple[str, str, str]]:
    lines = [line for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    rows = [line.split("\t") for line in lines[1:]]
    return [
        (typed.replace("\\t", "\t").replace("\\\\", "\\"), image_type, tag)
        for typed, image_type, tag, *_ in rows
    ]


# The original dropped characters that no image can have, or asked the gateway for what cannot be.
REFUSED = {
    *(
        "custom:dir/app:v1",
        ":latest",
        "ubuntu:",
        "/ubuntu",
        "ubuntu/",
        "a//b:1",
    ),
    *(
        "with space:1",
        "tab\there",
        "sp ace/na me:t ag",
        "semi;colon",
        "quote's",
        'dq"x',
        "dollar$x",
    ),
    *("back\\slash", "per%cent:1", "per%2Fcent", "q?x=1", "hash#1", "amp&x", "star*", "tilde~x"),
    *("excl!x", "comma,x", "eq=x", "paren(x)", "ünicode:1", "..", "../../etc", "a/../b:1", "."),
    *("-dash:1", "--help"),
}
BETTER = {"docker://ubuntu:1": ImageReference("docker", "ubuntu:1")}


@pytest.mark.parametrize(("typed", "image_type", "tag"), recorded())
def test_references_mean_what_they_meant_to_the_original(typed, image_type, tag):
    if typed in REFUSED or not image_type:
        with pytest.raises(InvalidReferenceError):
            ImageReference.parse(typed)
    else:
        expected = BETTER.get(typed, ImageReference(image_type, tag))
        assert ImageReference.parse(typed) == expected


def test_all_recorded_references_are_here():
    assert len(recorded()) == 64
    assert {*REFUSED, *BETTER} <= {typed for typed, *_ in recorded()}


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("ubuntu", "docker:ubuntu:latest"),
        ("host:5000/lib/app", "docker:host:5000/lib/app:latest"),
        ("app@sha256:00", "docker:app@sha256:00"),
        ("custom:app:v1", "custom:app:v1"),
        ("id:abc", "id:abc"),
    ],
)
def test_latest_is_meant_where_no_tag_is_given(typed, full):
    assert str(ImageReference.parse(typed).with_default_tag()) == full


def test_without_a_default_type_the_type_must_be_given():
    with pytest.raises(InvalidReferenceError, match="write it as docker:x:1"):
        ImageReference.parse("x:1", "")


@pytest.mark.parametrize("tag", ["", "a\0b", "a\nb", "x" * 513, "а"])  # the last is Cyrillic
def test_parts_from_outside_are_checked(tag):
    with pytest.raises(InvalidReferenceError):
        ImageReference.checked("docker", tag)


def test_an_unknown_type_from_outside_is_refused():
    with pytest.raises(InvalidReferenceError, match="unknown image type 'oci'"):
        ImageReference.checked("oci", "x")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("0" * 64, True),
        ("f" * 64, True),
        ("F" * 64, False),
        ("0" * 63, False),
        ("../" + "0" * 61, False),
        ("0" * 63 + "\n", False),
        ("٠" * 64, False),
        ("", False),
    ],
)
def test_an_image_id_is_64_hexadecimal_digits(text, answer):
    assert is_image_id(text) is answer
