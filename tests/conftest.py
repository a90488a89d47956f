# SPDX-License-Identifier: BSD-3-Clause
"""What all tests begin with."""

from __future__ import annotations

import signal

pytest_plugins = ["tests.mongodb"]  # the fixtures `mongod` and `mongo_database`


def pytest_configure() -> None:
    """Take SIGINT as usual: a shell that starts the tests behind `&` has them ignore it.

    What is ignored is handed on to every program that a test starts, and then interrupts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
