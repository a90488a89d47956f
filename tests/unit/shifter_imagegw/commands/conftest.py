# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import logging
import os

import pytest


@pytest.fixture
def process_as_before():
    """Takes back what commands do to their process: its log and its umask."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    umask = os.umask(0o022)
    yield
    os.umask(umask)
    logging.captureWarnings(False)
    root.handlers[:], root.level = before
