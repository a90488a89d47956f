# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os

import pytest

from shifter_imagegw.credentials import (
    KEY_VARIABLE,
    Sealer,
    embedded_sealer_of,
    new_key,
    sealer_of,
)
from shifter_imagegw.errors import ConfigError, PullError
from tests.unit.shifter_imagegw.conftest import make_config

LOGINS = {"reg": "alice:pass:wörd", "default": "a:b"}


@pytest.fixture
def key_file(tmp_path):
    """A good key file, and its key."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    key = new_key()
    path.write_text(f"{key}\n")
    return path, key


def test_what_is_sealed_opens_with_the_same_key():
    key = new_key()

    assert Sealer(key).unseal(Sealer(key).seal(LOGINS)) == LOGINS


def test_what_is_sealed_shows_nothing():
    key = new_key()
    sealer = Sealer(key)
    sealed = sealer.seal(LOGINS)

    assert "alice" not in sealed
    assert "pass" not in sealed
    assert key not in repr(sealer) + str(sealer)


@pytest.mark.parametrize("sealed", [Sealer(new_key()).seal(LOGINS), "", "garbage"])
def test_what_another_key_sealed_is_lost_and_the_user_told_to_pull_again(sealed):
    with pytest.raises(PullError, match="lost when the gateway restarted: pull again"):
        Sealer(new_key()).unseal(sealed)


def test_the_key_in_a_file_is_shared_by_whoever_reads_it(tmp_path, key_file):
    path, key = key_file
    config = make_config(tmp_path, KeyFile=str(path))

    assert Sealer(key).unseal(sealer_of(config, {}).seal(LOGINS)) == LOGINS
    assert embedded_sealer_of(config, {}).unseal(Sealer(key).seal(LOGINS)) == LOGINS


def test_the_key_in_the_environment_comes_first(tmp_path, key_file):
    config = make_config(tmp_path, KeyFile=str(key_file[0]))
    key = new_key()

    assert Sealer(key).unseal(sealer_of(config, {KEY_VARIABLE: key}).seal(LOGINS)) == LOGINS


def test_an_embedded_gateway_without_a_key_makes_one(tmp_path):
    sealer = embedded_sealer_of(make_config(tmp_path), {})

    assert sealer.unseal(sealer.seal(LOGINS)) == LOGINS


def test_without_a_key_nothing_is_sealed_and_the_reason_says_what_to_configure(tmp_path):
    sealer = sealer_of(make_config(tmp_path), {})

    with pytest.raises(ConfigError, match="must set KeyFile in imagemanager.json"):
        sealer.seal(LOGINS)
    with pytest.raises(PullError, match="must set KeyFile in imagemanager.json"):
        sealer.unseal(Sealer(new_key()).seal(LOGINS))


def test_a_worker_with_another_key_than_the_api_says_so(tmp_path, key_file):
    sealer = sealer_of(make_config(tmp_path, KeyFile=str(key_file[0])), {})

    with pytest.raises(PullError, match="give the gateway's API and workers the same KeyFile"):
        sealer.unseal(Sealer(new_key()).seal(LOGINS))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_file_that_others_can_read_or_change_is_refused(tmp_path, key_file, mode):
    key_file[0].chmod(mode)

    with pytest.raises(ConfigError, match="can be read or changed by others: chmod 600"):
        sealer_of(make_config(tmp_path, KeyFile=str(key_file[0])), {})


@pytest.mark.root
def test_a_key_file_of_another_user_is_refused(tmp_path, key_file):
    os.chown(key_file[0], 12345, 12345)

    with pytest.raises(ConfigError, match="belongs to user 12345"):
        sealer_of(make_config(tmp_path, KeyFile=str(key_file[0])), {})


def test_a_pipe_is_no_key_file_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe", mode=0o600)

    with pytest.raises(ConfigError, match="is not a regular file"):
        sealer_of(make_config(tmp_path, KeyFile=str(tmp_path / "pipe")), {})


@pytest.mark.parametrize("content", ["", "secret-but-no-key", "\xff\xfe"])
def test_a_key_file_that_holds_no_key_is_refused_without_showing_it(tmp_path, key_file, content):
    key_file[0].write_text(content)

    with pytest.raises(ConfigError, match="holds no key") as refusal:
        sealer_of(make_config(tmp_path, KeyFile=str(key_file[0])), {})

    assert "secret" not in str(refusal.value)


def test_a_key_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="KeyFile '/none' is not there: 'shifter-gateway key"):
        sealer_of(make_config(tmp_path, KeyFile="/none"), {})
