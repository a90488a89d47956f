# SPDX-License-Identifier: BSD-3-Clause
"""Does a registry accept a user's name and password? Nothing is read with them."""

from __future__ import annotations

import contextlib

from shifter_imagegw.registry import document
from shifter_imagegw.registry.auth import Challenge, parse_challenges, token_of, token_url
from shifter_imagegw.registry.auth import trusted_realm as trusted
from shifter_imagegw.registry.endpoint import Credentials, Endpoint
from shifter_imagegw.registry.errors import (
    CredentialsNotSentError,
    RegistryError,
    RegistryNotPermittedError,
)
from shifter_imagegw.registry.status import status_error
from shifter_imagegw.registry.transport import Answer, Timeout, Transport

_LARGEST_TOKEN_ANSWER = 1 << 20  # bytes


def check_login(
    endpoint: Endpoint, credentials: Credentials, *, timeout: Timeout = (5, 15)
) -> bool:
    """Whether the registry has looked at them: one that lets everybody in does not.

    Raises `RegistryNotPermittedError` where they are refused.
    """
    if not endpoint.may_see_credentials:
        raise CredentialsNotSentError(
            f"registry {endpoint.label} is asked over plain http, over which no password is sent: "
            "its URL in imagemanager.json must begin with https"
        )
    with contextlib.closing(Transport(endpoint, timeout)) as transport:
        return _Check(endpoint, credentials, transport).run()


class _Check:
    def __init__(self, endpoint: Endpoint, credentials: Credentials, transport: Transport) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._transport = transport

    def run(self) -> bool:
        with self._ask(None) as answer:
            if answer.status == 200:
                return False
            challenges = parse_challenges(answer.header_lines("WWW-Authenticate"))
            if answer.status != 401 or not challenges:
                raise status_error(
                    answer, f"registry {self._endpoint.label} does not say how to log in",
                    "check its URL in imagemanager.json",
                )  # fmt: skip
        with self._ask(self._authorization(challenges)) as answer:
            self._require_accepted(answer)
        return True

    def _ask(self, authorization: str | None) -> Answer:
        headers = {} if authorization is None else {"Authorization": authorization}
        return self._transport.get(self._endpoint.api(""), headers)

    def _authorization(self, challenges: list[Challenge]) -> str:
        bearer = next((one for one in challenges if one.parameters.get("realm")
                       and one.scheme == "bearer"), None)  # fmt: skip
        offers_basic = any(one.scheme == "basic" for one in challenges)
        if bearer is None or (self._endpoint.auth_method == "basic" and offers_basic):
            return self._credentials.basic_header()
        return f"Bearer {self._token(bearer)}"

    def _token(self, bearer: Challenge) -> str:
        realm = trusted(self._endpoint, bearer.parameters["realm"])
        headers = {
            "Accept": "application/json",
            "Authorization": self._credentials.basic_header(),
        }
        with self._transport.get(token_url(realm, bearer.parameters, ()), headers) as answer:
            self._require_accepted(answer)
            what = f"the answer of token server {answer.origin}"
            content = document.load(answer.read_all(_LARGEST_TOKEN_ANSWER, what), what)
        token = token_of(content)
        if token is None:
            raise RegistryError(f"{what} holds no token")
        return token

    def _require_accepted(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        registry = f"the registry {self._endpoint.label}"
        if answer.status in (400, 401, 403, 404):
            raise status_error(
                answer,
                f"{registry} refuses user {self._credentials.username!r}",
                "check the name and the password",
                RegistryNotPermittedError,
            )
        raise status_error(answer, f"{registry} cannot say whether it accepts you", "try again")
