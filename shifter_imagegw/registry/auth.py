# SPDX-License-Identifier: BSD-3-Clause
"""Who may read: challenges, tokens, and when credentials are sent.

Nothing is sent that was not asked for. Access to a repository is tried without any authorization,
then with a token for everybody, and only then with the credentials; so it is known whether an
image is private. Whoever has credentials shows them, too, where a registry has answered enough
questions of everybody's for now; that image then counts as private where nothing else is known of
it. Credentials go to the endpoint itself, or to the https token server it names.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from urllib.parse import urlencode

from shifter_imagegw.registry import document
from shifter_imagegw.registry.endpoint import Credentials, Endpoint, Origin
from shifter_imagegw.registry.errors import (
    RegistryError,
    RegistryNotPermittedError,
    TooManyRequestsError,
)
from shifter_imagegw.registry.status import status_error
from shifter_imagegw.registry.transport import Answer

_LARGEST_TOKEN_ANSWER = 1 << 20  # bytes
_DEFAULT_LIFETIME = 60.0  # seconds, as the token specification says
_TOKEN = re.compile(r"[\x21-\x7e]+")
_SCHEME_OR_KEY = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r'\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s,"]*))', re.DOTALL)
_SEPARATORS = re.compile(r"[\s,]*")
_LONGEST_HEADER = 8192

Get = Callable[[str, Mapping[str, str]], Answer]  # URL, headers


@dataclasses.dataclass(frozen=True)
class Challenge:
    """One way to authenticate that a server offers; scheme and keys are lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(lines: Iterable[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers (RFC 9110, 11.6.1), as far as they make sense."""
    challenges: list[Challenge] = []
    for line in lines:
        _parse_line(line[:_LONGEST_HEADER], challenges)
    return challenges


class Stage(enum.IntEnum):
    """How much has to be shown to read a repository; tried in this order."""

    NOTHING = 0
    TOKEN_FOR_ALL = 1
    CREDENTIALS = 2


@dataclasses.dataclass(frozen=True)
class Authorization:
    """What a request carries; `header` None means none."""

    stage: Stage = Stage.NOTHING
    header: str | None = dataclasses.field(default=None, repr=False)
    expires: float | None = None  # monotonic seconds


class LoginWatch(Protocol):
    """Somebody who has a say when credentials are shown."""

    def before(self) -> None:
        """Raise where they are not to be shown."""

    def refused(self) -> None:
        """They were, and they are not accepted."""


@dataclasses.dataclass
class _Access:
    """What is known about one repository."""

    current: Authorization = Authorization()
    bearer: Challenge | None = None
    offers_basic: bool = False
    accepted: Authorization | None = None
    is_limited: bool = False


class Authorizer:
    """Finds out what it takes to read each repository of one endpoint; used by many threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None,
        get: Get,
        clock: Callable[[], float] = time.monotonic,
        *,
        watch: LoginWatch | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials if endpoint.may_see_credentials else None
        self._get = get
        self._clock = clock
        self._watch = watch
        self._lock = threading.Lock()
        self._accesses: dict[str, _Access] = {}

    def current(self, repository: str) -> Authorization:
        """What worked last, with a new token where the old one is about to end."""
        with self._lock:
            access = self._accesses.setdefault(repository, _Access())
            expires = access.current.expires
            if expires is not None and self._clock() >= expires:
                access.current = self._token(access, repository, access.current.stage)
                access.accepted = access.current
            return access.current

    def stage(self, repository: str) -> Stage:
        """How much had to be shown to read `repository`."""
        with self._lock:
            return self._accesses.get(repository, _Access()).current.stage

    def is_limited(self, repository: str) -> bool:
        """Whether credentials were shown only because everybody's questions were too many."""
        with self._lock:
            return self._accesses.get(repository, _Access()).is_limited

    def accept(self, repository: str, authorization: Authorization) -> None:
        """Remember that `authorization` was enough."""
        with self._lock:
            access = self._accesses.get(repository)
            if access is not None and access.current == authorization:
                access.accepted = authorization

    def after_refusal(
        self, repository: str, refused: Authorization, status: int, challenges: list[Challenge]
    ) -> Authorization | None:
        """What to try next after a 401, 403, 404 or 429; None when nothing is left to show."""
        with self._lock:
            access = self._accesses.setdefault(repository, _Access())
            if access.current != refused:
                return access.current  # another thread was here first
            if self._is_login_refused(access, status):
                self._note_refusal()
            _learn(access, challenges)
            access.is_limited |= status == 429
            next_one = self._renewed(access, repository, status) or self._next(access, repository)
            if next_one is not None:
                access.current = next_one
            return next_one

    def forget(self, repository: str) -> None:
        """Begin anew: what was tried for the latest request says nothing about the next one."""
        with self._lock:
            self._accesses.pop(repository, None)

    def hint(self) -> str:
        """What a person may do about a refusal."""
        if not self._endpoint.may_see_credentials:
            return (
                "check the name; credentials are not sent over plain http, configure the registry "
                "with an https URL"
            )
        return f"check the name, or log in with `shifterimg login {self._endpoint.login_name}`"

    def _is_login_refused(self, access: _Access, status: int) -> bool:
        """Not where it was accepted before: then it is one blob that it may not read."""
        is_shown = access.current.stage is Stage.CREDENTIALS and status in (401, 403)
        return is_shown and access.accepted != access.current

    def _note_refusal(self) -> None:
        if self._watch is not None:
            self._watch.refused()

    def _renewed(self, access: _Access, repository: str, status: int) -> Authorization | None:
        """A new token of the same kind where one that had worked no longer does."""
        worked = access.accepted == access.current and access.current.header is not None
        if status != 401 or not worked or access.bearer is None:
            return None
        if access.current.header is not None and access.current.header.startswith("Basic "):
            return None
        access.accepted = None
        return self._token(access, repository, access.current.stage)

    def _next(self, access: _Access, repository: str) -> Authorization | None:
        if access.current.stage < Stage.TOKEN_FOR_ALL and access.bearer is not None:
            try:
                return self._token(access, repository, Stage.TOKEN_FOR_ALL)
            except TooManyRequestsError:
                if self._credentials is None:
                    raise
                access.is_limited = True
            except RegistryError as error:
                if error.retriable or self._credentials is None:
                    raise
        if access.current.stage < Stage.CREDENTIALS and self._credentials is not None:
            if self._watch is not None:
                self._watch.before()
            if self._endpoint.auth_method == "basic" or (
                access.bearer is None and access.offers_basic
            ):
                return Authorization(Stage.CREDENTIALS, self._credentials.basic_header())
            if access.bearer is not None:
                return self._token(access, repository, Stage.CREDENTIALS)
        return None

    def _token(self, access: _Access, repository: str, stage: Stage) -> Authorization:
        """A token from the server that the challenge names, as everybody or as ourselves."""
        assert access.bearer is not None
        parameters = access.bearer.parameters
        realm = trusted_realm(self._endpoint, parameters.get("realm", ""))
        scopes = parameters.get("scope", "").split() or [f"repository:{repository}:pull"]
        headers = {"Accept": "application/json"}
        if stage is Stage.CREDENTIALS and self._credentials is not None:
            headers["Authorization"] = self._credentials.basic_header()
        began = self._clock()
        with self._get(token_url(realm, parameters, scopes), headers) as answer:
            if answer.status != 200:
                raise self._refused_by_token_server(answer, repository, stage)
            what = f"the answer of token server {answer.origin}"
            token = document.load(answer.read_all(_LARGEST_TOKEN_ANSWER, what), what)
        text = token_of(token)
        if text is None:
            raise RegistryError(f"{what} for {repository} holds no token")
        return Authorization(stage, f"Bearer {text}", began + _usable_for(token.get("expires_in")))

    def _refused_by_token_server(
        self, answer: Answer, repository: str, stage: Stage
    ) -> RegistryError:
        who = ""
        is_refusal = answer.status in (400, 401, 403, 404)
        if stage is Stage.CREDENTIALS and self._credentials is not None:
            who = f" for user {self._credentials.username!r}"
            if is_refusal:
                self._note_refusal()
        what = f"token server {answer.origin} of registry {self._endpoint.label}"
        if is_refusal:
            return status_error(
                answer,
                f"{what} gives no token{who} to read {repository}",
                self.hint(),
                kind=RegistryNotPermittedError,
            )
        return status_error(answer, f"{what} failed", "try again later")


def _learn(access: _Access, challenges: list[Challenge]) -> None:
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            access.bearer = challenge
        elif challenge.scheme == "basic":
            access.offers_basic = True


def trusted_realm(endpoint: Endpoint, realm: str) -> str:
    """The token server that a registry names, where credentials may be shown to it."""
    home = endpoint.origin
    try:
        origin = Origin.of(realm)
    except ValueError:
        raise RegistryError(f"registry {home} names no usable token server") from None
    # Plain http only for a registry that is asked over plain http itself, and only there.
    if origin.scheme == "http" and (home.scheme != "http" or origin.host != home.host):
        raise RegistryError(
            f"registry {home} names the token server {origin} over plain http, which is not "
            "trusted: it must use https"
        )
    return realm


def token_url(realm: str, parameters: Mapping[str, str], scopes: Iterable[str]) -> str:
    query = [("service", parameters["service"])] if parameters.get("service") else []
    query += [("scope", scope) for scope in scopes]
    base = realm.partition("#")[0]
    return f"{base}{'&' if '?' in base else '?'}{urlencode(query)}" if query else base


def token_of(answer: document.Document) -> str | None:
    """The token in a token server's answer; None where there is none that a header can carry."""
    text = answer.get("token") or answer.get("access_token")
    return text if isinstance(text, str) and _TOKEN.fullmatch(text) else None


def _usable_for(expires_in: object) -> float:
    """Seconds for which a token is used: until shortly before it ends."""
    lifetime = _DEFAULT_LIFETIME
    if isinstance(expires_in, (int, float)) and 0 < expires_in < 1e9:
        lifetime = float(expires_in)
    return lifetime - min(10.0, lifetime / 5)


def _parse_line(line: str, challenges: list[Challenge]) -> None:
    """Each word begins a challenge, or, before a `=`, is a parameter of the latest one."""
    parameters: dict[str, str] | None = None
    position = 0
    while position < len(line):
        position = _skip(_SEPARATORS, line, position)
        word = _SCHEME_OR_KEY.match(line, position)
        if word is None:
            position = _next_comma(line, position)
            continue
        position = word.end()
        value = _VALUE.match(line, position)
        if value is None:
            parameters = {}
            challenges.append(Challenge(word[0].lower(), parameters))
            continue
        position = value.end()
        if parameters is not None:
            quoted, plain = value[1], value[2]
            text = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(word[0].lower(), text)


def _skip(pattern: re.Pattern[str], line: str, position: int) -> int:
    matched = pattern.match(line, position)
    return matched.end() if matched else position


def _next_comma(line: str, position: int) -> int:
    comma = line.find(",", position)
    return len(line) if comma < 0 else comma + 1
