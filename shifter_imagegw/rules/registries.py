# SPDX-License-Identifier: BSD-3-Clause
"""What users may ask registries through the gateway: those that pulls reach, and no others."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from shifter_common.reference import ImageReference
from shifter_imagegw.config import GatewayConfig, LocationConfig, SystemConfig
from shifter_imagegw.errors import (
    BadRequestError,
    GatewayError,
    ImageNotFoundError,
    LocationNotFoundError,
    NotPermittedError,
    PullError,
    RegistryUnusableError,
    TooManyQuestionsError,
)
from shifter_imagegw.login_tries import LoginTries
from shifter_imagegw.pulling import location
from shifter_imagegw.registry import (
    Credentials,
    CredentialsNotSentError,
    Endpoint,
    InvalidNameError,
    ManifestNotFoundError,
    Platform,
    RegistryClient,
    RegistryError,
    RegistryNotPermittedError,
    RepositoryName,
    TagPage,
    check_login,
    list_tags,
)
from shifter_imagegw.registry.name import is_registry_tag
from shifter_imagegw.rules import logins
from shifter_imagegw.rules.auth import Caller

log = logging.getLogger(__name__)

_TIMEOUT = (5.0, 15.0)  # seconds to connect, and between two packets: somebody waits
_ATTEMPTS = 2
# A registry that hangs must leave threads for all who ask nothing of it; a user, turns for others.
_MOST_QUESTIONS, _MOST_EACH = 3, 2  # of each process
_WAIT_SECONDS = 2.0

_LONGEST_LOCATION = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tags:
    """Some tags of a repository, and where they are."""

    location: str
    page: TagPage

    def to_wire(self) -> dict[str, Any]:
        return {
            "location": self.location,
            "repository": self.page.repository,
            "tags": list(self.page.tags),
            "next": self.page.next,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceptedLogin:
    """A login that a location's registry accepts."""

    location: LocationConfig
    is_verified: bool  # else the registry lets everybody in, and has not looked at it

    def to_wire(self) -> dict[str, Any]:
        return {
            "status": True,
            "location": self.location.name,
            "url": self.location.url,
            "verified": self.is_verified,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upstream:
    """What a tag means at its registry now, for a system's processors."""

    location: str
    digest: str

    def to_wire(self) -> dict[str, Any]:
        image_id = self.digest.partition(":")[2]  # as a pull would name it
        return {"location": self.location, "id": image_id, "digest": self.digest}


class Registries:
    """Questions to registries that are answered while the caller waits."""

    def __init__(self, config: GatewayConfig, tries: LoginTries) -> None:
        self._config = config
        self._urls = {name: place.url for name, place in config.locations.items()}
        self._tries = tries
        self._turns = _Turns()

    def tags(
        self, reference: ImageReference, caller: Caller, *, last: str | None, limit: int
    ) -> Tags:
        """Tags of a repository, as the caller may see them with their own logins."""
        if last is not None and not is_registry_tag(last):
            raise BadRequestError(f"last must be a tag, not {last[:80]!r}")
        source = self._source(reference, "list the tags of")
        try:
            repository = _repository_of(source.name)
        except InvalidNameError as error:
            raise BadRequestError(str(error)) from error
        with self._asking(caller, source.hint), self._client(source, caller) as client:
            page = list_tags(client, repository, last=last, limit=limit)
        return Tags(location=source.location, page=page)

    def upstream(self, system: SystemConfig, reference: ImageReference, caller: Caller) -> Upstream:
        """What a pull of `reference` would fetch now; nothing is pulled for it."""
        source = self._source(reference.with_default_tag(), "ask for")
        try:
            name = RepositoryName.parse(source.name)
        except InvalidNameError as error:
            raise BadRequestError(str(error)) from error
        platform = Platform.parse(system.platform) if system.platform else Platform.host()
        with self._asking(caller, source.hint), self._client(source, caller) as client:
            image = client.resolve(name, platform)
        return Upstream(location=source.location, digest=image.digest)

    def log_in(self, where: str, caller: Caller) -> AcceptedLogin:
        """Have a registry look at the login that the caller has for `where`; it is kept nowhere."""
        name = location.named(where, self._urls, self._config.default_location)
        if name is None:
            raise LocationNotFoundError(
                f"there is no location {where[:_LONGEST_LOCATION]!r}: the gateway knows "
                f"{', '.join(sorted(self._urls))}"
            )
        login = caller.credentials.get(where) or caller.credentials.get(name)
        if not login or ":" not in login:
            raise BadRequestError(
                f"the request carries no login for location {where!r}: it belongs into the "
                'credential\'s payload, as {"authorized_locations": {LOCATION: "USER:PASSWORD"}}'
            )
        place, credentials = self._config.locations[name], _credentials(login)
        try:
            with self._tries.one(caller.uid), self._asking(caller):
                is_verified = check_login(_endpoint(place), credentials, timeout=_TIMEOUT)
        except GatewayError as error:
            log.info("login not accepted location=%s uid=%d reason=%s", name, caller.uid, error)
            raise
        log.info("login accepted location=%s uid=%d", name, caller.uid)
        return AcceptedLogin(location=place, is_verified=is_verified)

    def _source(self, reference: ImageReference, what: str) -> location.Source:
        if reference.image_type != "docker":
            raise BadRequestError(
                f"cannot {what} {reference}: only images of type docker are in registries"
            )
        try:
            return location.choose(
                reference.tag, self._urls, self._config.default_location, what=what
            )
        except PullError as error:
            raise BadRequestError(str(error)) from error

    def _client(self, source: location.Source, caller: Caller) -> RegistryClient:
        place = self._config.locations[source.location]
        return RegistryClient(
            _endpoint(place),
            _login(place, caller),
            timeout=_TIMEOUT,
            attempts=_ATTEMPTS,
            watch=self._tries.watch(caller.uid),
        )

    @contextlib.contextmanager
    def _asking(self, caller: Caller, hint: str = "") -> Iterator[None]:
        """Ask a registry in the body; what it refuses is refused to the caller."""
        try:
            with self._turns.one(caller.uid):
                yield
        except (RegistryNotPermittedError, CredentialsNotSentError) as error:
            raise NotPermittedError(str(error)) from error
        except ManifestNotFoundError as error:
            raise ImageNotFoundError(f"{error}; {hint}" if hint else str(error)) from error
        except RegistryError as error:
            raise RegistryUnusableError(str(error)) from error


class _Turns:
    """Who is asking registries, in this process."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_MOST_QUESTIONS)
        self._users: Counter[int] = Counter()
        self._counting = threading.Lock()

    @contextlib.contextmanager
    def one(self, uid: int) -> Iterator[None]:
        with self._counting:
            if self._users[uid] >= _MOST_EACH:  # not waited for, which would take a thread
                raise TooManyQuestionsError(
                    "you are asking registries already: wait for their answers, and try again"
                )
            self._users[uid] += 1
        try:
            if not self._free.acquire(timeout=_WAIT_SECONDS):
                raise TooManyQuestionsError("others are asking registries just now: try again")
            try:
                yield
            finally:
                self._free.release()
        finally:
            with self._counting:
                self._users[uid] -= 1
                if not self._users[uid]:
                    del self._users[uid]


def _repository_of(name: str) -> str:
    parsed = RepositoryName.parse(name)
    if parsed.repository != name:
        raise BadRequestError(
            f"{name[:300]!r} names one image: leave out what follows {parsed.repository!r}"
        )
    return parsed.repository


def _endpoint(place: LocationConfig) -> Endpoint:
    return Endpoint(place.url, place.ca_file, place.auth_method.value, place.name)


def _login(place: LocationConfig, caller: Caller) -> Credentials | None:
    login = logins.best(caller.credentials, place.name, place.url)
    return _credentials(login) if login else None


def _credentials(login: str) -> Credentials:
    username, _, password = login.partition(":")
    credentials = Credentials(username, password)
    try:
        credentials.basic_header()
    except RegistryError as error:
        raise BadRequestError(str(error)) from error
    return credentials
