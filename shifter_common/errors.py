# SPDX-License-Identifier: BSD-3-Clause
"""The root of Shifter's exceptions, and those that packages share."""

from __future__ import annotations


class ShifterError(Exception):
    """Its text is complete for a person: what failed, on which object, why, what to do."""


class InvalidReferenceError(ShifterError):
    """What was typed cannot name an image."""


class InvalidMetadataError(ShifterError):
    """A .meta file that cannot be understood."""


class MungeError(ShifterError):
    """munge refused to make or to accept a credential; `code` is libmunge's own number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
