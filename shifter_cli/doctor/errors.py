# SPDX-License-Identifier: BSD-3-Clause
"""What can keep the doctor from looking."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class DoctorError(ShifterError):
    """A launch that cannot be looked at at all."""
