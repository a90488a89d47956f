# SPDX-License-Identifier: BSD-3-Clause
"""References as they were given to the original: asked for under the same path."""

from __future__ import annotations

import pytest

from tests.unit.shifter_cli.submission.conftest import IMAGE_ID
from tests.unit.shifter_cli.test_golden import recorded_references

ASKED = [row for row in recorded_references() if not row[0].startswith(("id:", "local:"))]


@pytest.mark.parametrize(("typed", "path"), ASKED)
def test_reference_is_looked_up_as_the_original_did(typed, path, submit, gateway):
    gateway.answer({"id": IMAGE_ID})

    answer = submit(f"--image={typed}")

    assert answer.records["SHIFTER_IMAGE"] == IMAGE_ID
    assert gateway.requests[0].line == f"GET {path} HTTP/1.1"


def test_enough_recorded_references_are_compared():
    assert len(ASKED) > 15
