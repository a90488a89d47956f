# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between `shifter …` and the user's program: each ends with exit code 1."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class SetupError(ShifterError):
    """The image cannot be prepared, or the program not be started in it."""


class UntrustedPathError(SetupError):
    """Something that root would rely on can be changed by others."""


class ConfigError(SetupError):
    """udiRoot.conf cannot be used; names file, line and key."""


class UsageError(SetupError):
    """The command line cannot be understood; the short usage is shown with it."""


class VolumeError(SetupError):
    """A volume that cannot be mounted as asked."""


class MissingImageError(SetupError):
    """The image's files are not, or no longer, where the gateway puts them."""


class NotPermittedError(SetupError):
    """The caller may not use this image, or may not use Shifter at all."""


class ProgramError(SetupError):
    """The user's program could not be started: exit code 127, as a shell's."""
