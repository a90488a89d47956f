# SPDX-License-Identifier: BSD-3-Clause
"""Nudges, where Redis goes away after it was there."""

from __future__ import annotations

import pytest

from shifter_imagegw.workers.tasks import Nudges
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("goes_away", [RedisServer.kill, RedisServer.pause])
def test_a_broker_that_goes_away_between_two_questions_is_away_and_no_defect(goes_away):
    with running_redis() as server:
        nudges = Nudges(server.url())
        nudges("alpha")
        assert nudges.count("alpha") == 1

        goes_away(server)

        assert nudges.count("alpha") is None
