# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong in the gateway: refusals of a request, and failures of a pull."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class GatewayError(ShifterError):
    """A request that is refused, with the HTTP status that says so."""

    status = 500
    retry_after: int | None = None  # seconds


class BadRequestError(GatewayError):
    status = 400


class NotAuthenticatedError(GatewayError):
    status = 401


class AuthenticationUnavailableError(GatewayError):
    """Nobody can be authenticated now: munged does not answer."""

    status = 503


class NotPermittedError(GatewayError):
    status = 403


class ImageNotFoundError(GatewayError):
    status = 404


class SystemNotFoundError(GatewayError):
    status = 404


class LocationNotFoundError(GatewayError):
    status = 404


class NameTakenError(GatewayError):
    """Something else is being done under this name."""

    status = 409


class NoSuchJobError(GatewayError):
    status = 404


class JobEndedError(GatewayError):
    """The job is too far for what is asked for."""

    status = 409


class BodyTooLongError(GatewayError):
    status = 413


class TooManyPullsError(GatewayError):
    """The caller has as many pulls in the queue as one user may."""

    status = 429
    retry_after = 10  # in which a pull or two may have ended


class TooManyQuestionsError(GatewayError):
    """So many are being answered that the rest of the gateway would wait for them."""

    status = 429
    retry_after = 5


class TooManyLoginsError(GatewayError):
    """The caller has had too many logins refused."""

    status = 429
    retry_after = 60


class ExportError(GatewayError):
    """The file of an image cannot be read on the gateway's host."""

    status = 503


class TooManyExportsError(GatewayError):
    """As many files are being sent as this process sends at once."""

    status = 429
    retry_after = 10


class RangeError(GatewayError):
    """The file has no such bytes."""

    status = 416

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class RegistryUnusableError(GatewayError):
    """A registry does not answer, or not as it should."""

    status = 502


class ConfigError(GatewayError):
    """imagemanager.json cannot be used; names file, section and key."""


class CatalogError(GatewayError):
    """The catalog could not be read or written."""

    status = 503


class LeaseLostError(ShifterError):
    """Another worker owns the job now; this one must stop and publish nothing."""


class PullError(ShifterError):
    """A pull that failed; the text is what the user reads as the reason."""


class ConversionError(PullError):
    """A tool that makes image files failed: command, exit status, end of its output."""


class DeliveryError(PullError):
    """A finished image could not be placed on a system."""
