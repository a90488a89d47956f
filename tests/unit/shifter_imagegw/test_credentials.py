# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.credentials import Sealer, new_key
from shifter_imagegw.errors import PullError

LOGINS = {"reg": "alice:pass:wörd", "default": "a:b"}


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
