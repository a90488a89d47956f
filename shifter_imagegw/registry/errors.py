# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong between the gateway and a registry, and words that are safe to show."""

from __future__ import annotations

from shifter_common.errors import ShifterError


class RegistryError(ShifterError):
    """A registry could not be used; `retriable` says whether the same request may succeed later.

    `retry_after` is what the registry asked us to wait, in seconds. No text of these errors holds
    a password, a token, or the query of a URL (signed links carry their secret there).
    """

    def __init__(
        self, message: str, *, retriable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.retry_after = retry_after


class RegistryUnreachableError(RegistryError):
    """Nobody answers where the registry should be."""


class InvalidNameError(RegistryError):
    """What was asked for cannot name an image in any registry."""


class RegistryNotPermittedError(RegistryError):
    """The registry wants (other) credentials."""


class CredentialsNotSentError(RegistryError):
    """Credentials would be readable on their way."""


class TooManyRequestsError(RegistryError):
    """The registry answers no more for a while, to whom we are so far."""


class ManifestNotFoundError(RegistryError):
    """The registry has no such image, or none for the platform."""


class DigestMismatchError(RegistryError):
    """What the registry sent is not what was asked for."""


class UnsupportedMediaTypeError(RegistryError):
    """The registry holds something that is no container image, or one that cannot be had."""


class FetchCancelledError(RegistryError):
    """The caller no longer wants the blob; what came so far is kept for next time."""


def cleaned(text: str, limit: int = 300) -> str:
    """`text` of a foreign server as one short printable line: no control or format characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
