# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_common import munge
from shifter_common.errors import MungeError


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr(munge, "_library", None)
    monkeypatch.setattr(munge, "_LIBRARY", "libnosuch.so.9")


@pytest.mark.parametrize("call", [munge.encode, lambda: munge.decode("MUNGE:x:")])
def test_a_library_that_is_missing_is_said_and_how_to_get_it(no_library, call):
    with pytest.raises(MungeError, match=r"cannot load libnosuch.so.9 .*: install munge and its"):
        call()


def test_what_a_credential_holds_is_not_shown():
    credential = munge.Credential(uid=1, gid=2, payload=b"secret")

    assert repr(credential) == "Credential(uid=1, gid=2)"
