# SPDX-License-Identifier: BSD-3-Clause
"""A node on which a batch system starts and ends jobs."""

from __future__ import annotations

import pytest

from tests.integration.batch.scheduler import Scheduler


@pytest.fixture
def scheduler(batch):
    """Runs the two programs on the node, with or without what a batch system puts around them."""
    return Scheduler(batch)
