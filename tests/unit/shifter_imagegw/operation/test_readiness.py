# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a part of the gateway that is away."""

from __future__ import annotations

import pytest
import redis

from shifter_imagegw.operation import readiness


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "Error 111 connecting to db1:6379. Connection refused.",
            "db1:6379: Connection refused",
        ),
        (
            "Error -2 connecting to db1:6379. Name or service not known.",
            "db1:6379: Name or service not known",
        ),
        ("Timeout connecting to server", "Timeout connecting to server"),
    ],
)
def test_redis_is_told_of_without_numbers_of_the_system(said, words):
    assert readiness._broker_words(redis.ConnectionError(said)) == words
