# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between the libraries of a node and a module made of them."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class NotALibraryError(ShifterError):
    """A file that is no shared object, or a broken one."""


class PrepareError(ShifterError):
    """A module that cannot be made."""


class CheckError(ShifterError):
    """A module or an image that cannot be looked into."""
