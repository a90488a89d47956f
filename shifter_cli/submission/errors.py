# SPDX-License-Identifier: BSD-3-Clause
"""Why a job is not submitted."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class SubmissionError(ShifterError):
    """What was asked of the job cannot be had."""


class UnansweredError(SubmissionError):
    """A source that cannot tell which image a name means; `complaint` is why, in more words."""

    def __init__(self, problem: str, complaint: str = "") -> None:
        super().__init__(problem)
        self.complaint = complaint


class SshKeyError(ShifterError):
    """~/.udiRoot has no key pair that could be used, and none can be put there."""
