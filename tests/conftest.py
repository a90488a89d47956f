# SPDX-License-Identifier: BSD-3-Clause
"""What all tests begin with."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.mongodb"]  # the fixtures `mongod` and `mongo_database`


def pytest_configure() -> None:
    """Take signals as usual: who starts the tests behind `&`, or with nohup, ignores some.

    What is ignored is handed on to every program that a test starts, and then interrupts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def the_umask_stays() -> Iterator[None]:
    """Commands of the gateway set one for their process, which may be that of the tests."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
