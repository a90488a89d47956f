# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between a person's terminal and the image gateway."""

from __future__ import annotations

from collections.abc import Sequence

from shifter_common.errors import ShifterError


class SettingsError(ShifterError):
    """udiRoot.conf does not say what the command needs to know."""


class GatewayUnreachableError(ShifterError):
    """None of the configured gateways could be spoken to."""


class GatewayAnswerError(ShifterError):
    """A gateway answered with something that is not its language."""


class GatewayRefusalError(ShifterError):
    """A gateway understood and said no; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ImageNotFoundError(GatewayRefusalError):
    """There is no image of that name on the system, or none that the user may know of."""


class GatewayTooOldError(GatewayRefusalError):
    """A gateway, of the original or of ours, that does not know such a request yet."""


class NotReadyError(ShifterError):
    """An image that will not be ready, and the gateway's reason."""


class SeveralFailedError(ShifterError):
    """Of several things at least one failed; `causes` say why."""

    def __init__(self, causes: Sequence[ShifterError]) -> None:
        super().__init__("; ".join(map(str, causes)))
        self.causes = causes


class AccessListError(ShifterError):
    """A user or group that cannot stand in an access list."""


class CredentialFileError(ShifterError):
    """~/.udiRoot/.cred cannot be read or written safely."""


class LoginRefusedError(ShifterError):
    """A registry did not take a login, or could not be asked; nothing was stored."""


class LoginFileError(ShifterError):
    """A file of docker's or podman's that logins cannot be read from."""


class CredentialHelperError(ShifterError):
    """A credential helper that gave no login."""


class PullFailedError(SeveralFailedError):
    """At least one image did not get ready."""
