# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest

from shifter_imagegw.credentials import Sealer, new_key
from shifter_imagegw.tokens import Tokens

MINUTE = timedelta(minutes=1)
NOW = time.time()


@pytest.fixture
def sealer():
    return Sealer(new_key())


@pytest.fixture
def tokens(sealer):
    return Tokens(sealer.key_for("tests"))


def test_what_was_written_is_read(tokens):
    assert tokens.read(tokens.write({"uid": 5}, NOW), MINUTE, NOW + 59) == {"uid": 5}


@pytest.mark.parametrize("name", ["", "a" * 9, "a" * 17, "a" * 30])
def test_it_can_stand_in_a_link_as_it_is(tokens, name):
    text = tokens.write({"name": name}, NOW)

    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert tokens.read(text, MINUTE, NOW) == {"name": name}


def test_another_process_with_the_same_key_reads_it(sealer, tokens):
    other = Tokens(sealer.key_for("tests"))

    assert other.read(tokens.write({"uid": 5}, NOW), MINUTE, NOW) == {"uid": 5}


def test_nothing_of_it_can_be_read_without_the_key(tokens):
    assert "alice" not in tokens.write({"name": "alice"}, NOW)


def test_it_grows_too_old(tokens):
    assert tokens.read(tokens.write({"uid": 5}, NOW), MINUTE, NOW + 62) is None


def test_what_is_for_one_purpose_is_no_use_for_another(sealer, tokens):
    other = Tokens(sealer.key_for("other tests"))

    assert other.read(tokens.write({"uid": 5}, NOW), MINUTE, NOW) is None


def test_what_was_sealed_as_a_login_is_no_token(sealer, tokens):
    assert tokens.read(sealer.seal({"default": "alice:secret"}), MINUTE, NOW) is None


@pytest.mark.parametrize("text", ["", "x", "gAAAAA", "é", "a" * 5000, "\x00"])
def test_what_nobody_has_written_is_not_read(tokens, text):
    assert tokens.read(text, MINUTE, NOW) is None


@pytest.mark.parametrize("place", [0, 5, 20, 40, -5])
def test_one_changed_character_spoils_it(tokens, place):
    text = list(tokens.write({"uid": 5}, NOW))
    text[place] = "A" if text[place] != "A" else "B"

    assert tokens.read("".join(text), MINUTE, NOW) is None


def test_without_a_key_there_are_none():
    assert Sealer(None).key_for("tests") is None
