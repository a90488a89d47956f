# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()
