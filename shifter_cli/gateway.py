# SPDX-License-Identifier: BSD-3-Clause
"""The image gateway as a client sees it: one method for each thing it can be asked."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from shifter_cli.errors import (
    GatewayAnswerError,
    GatewayRefusalError,
    GatewayTooOldError,
    GatewayUnreachableError,
    ImageNotFoundError,
    SettingsError,
)
from shifter_cli.exchange import Answer, cause, exchange
from shifter_cli.records import ImageRecord, LookupRow, QueuedJob
from shifter_cli.registry_records import AcceptedLogin, TagPage, WebLink
from shifter_common.reference import ImageReference

# How a gateway of the original, and one of ours, says that it has no such route.
_NO_SUCH_ROUTE = ("Requested URL ", "there is no route ")


class AccessLists(Protocol):
    """Who may use a private image; a list that is empty says nothing."""

    @property
    def uids(self) -> Sequence[int]: ...
    @property
    def gids(self) -> Sequence[int]: ...


class GatewayClient:
    """Speaks to the first of several gateways that works.

    `encode` makes a munge credential of a payload; a credential is good for one request.
    `logins` are the user's registry logins for an image, `{location: "user:password"}`; they
    travel inside the credential and only where a registry is asked. `timeout` is for a whole
    request, in seconds, 0 for none. `watch` sees every answer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        system: str,
        *,
        encode: Callable[[bytes], str],
        timeout: float = 0.0,
        logins: Callable[[ImageReference], Mapping[str, str]] = lambda _: {},
        watch: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        if not urls:
            raise SettingsError(
                "no image gateway is known: the administrator has to set imageGateway "
                "in udiRoot.conf"
            )
        if not system:
            raise SettingsError("the administrator has to set system in udiRoot.conf")
        # In random order, so that no gateway gets all the clients.
        self._urls = sorted(urls, key=lambda _: os.urandom(4))
        self._system = system
        self._encode = encode
        self._timeout = timeout
        self._logins = logins
        self._watch = watch

    def pull(self, reference: ImageReference, access: AccessLists) -> ImageRecord:
        """Ask for an image, or how far it is."""
        answer = self._ask(
            "POST",
            f"cannot pull {reference}",
            self._path("pull", reference),
            body=_access_body(access),
            payload=_payload(self._logins(reference)),
        )
        return ImageRecord.from_wire(_mapping(answer))

    def import_file(
        self, reference: ImageReference, path: str, file_format: str, access: AccessLists
    ) -> ImageRecord:
        """Ask for an image to be made of a file on the gateway's host, or how far that is."""
        fields = {"filepath": path, "format": file_format} | _access_fields(access)
        answer = self._ask(
            "POST",
            f"cannot import {path} as {reference}",
            self._path("doimport", reference),
            body=json.dumps(fields, separators=(",", ":")).encode(),
        )
        return ImageRecord.from_wire(_mapping(answer))

    def lookup(self, reference: ImageReference) -> ImageRecord:
        """The READY image that carries a tag."""
        try:
            answer = self._ask("GET", f"cannot find {reference}", self._path("lookup", reference))
        except GatewayRefusalError as error:
            if "image not found" not in str(error):
                raise
            hint = f"shifterimg pull {reference} fetches an image"
            if reference.image_type == "custom":
                hint = f"shifterimg import FILE {reference.tag} makes it of a file of yours"
            raise ImageNotFoundError(f"{error} ({hint})", error.status) from error
        record = ImageRecord.from_wire(_mapping(answer))
        if not record.image_id:
            raise GatewayAnswerError(f"the image gateway {answer.url} gave no id for {reference}")
        return record

    def images(self) -> list[ImageRecord]:
        """Every READY image of the system that the caller may use."""
        answer = self._ask("GET", f"cannot list the images of {self._system}", self._path("list"))
        return [ImageRecord.from_wire(item) for item in _list(answer)]

    def queue(self) -> list[QueuedJob]:
        """Every pull, import and removal of the system that has not ended well."""
        answer = self._ask("GET", f"cannot list the pulls of {self._system}", self._path("queue"))
        return [QueuedJob.from_wire(item) for item in _list(answer)]

    def expire(self, reference: ImageReference) -> None:
        """Have an image removed from the system.

        Gateways of the original answer a refusal with status 200 and `false` or `null`.
        """
        answer = self._ask("GET", f"cannot expire {reference}", self._path("expire", reference))
        status = _mapping(answer).get("status")
        if status is None:
            raise GatewayRefusalError(f"cannot expire {reference}: no such image", 404)
        if status is not True:
            raise GatewayRefusalError(
                f"cannot expire {reference}: only administrators of {self._system} may", 403
            )

    def autoexpire(self) -> list[str]:
        """Have every image removed whose time has come; their ids."""
        failing = f"cannot expire the unused images of {self._system}"
        answer = self._ask("GET", failing, self._path("autoexpire"))
        ids = _mapping(answer).get("status")
        if not isinstance(ids, list):
            raise GatewayRefusalError(f"{failing}: only its administrators may", 403)
        return [str(image_id) for image_id in ids]

    def lookups(self, limit: int) -> list[LookupRow]:
        """The last lookups of the system, oldest first; nothing for who is no administrator."""
        failing = f"cannot list the lookups on {self._system}"
        answer = self._ask("GET", failing, f"{self._path('metrics')}?limit={limit}")
        try:
            rows = json.loads(answer.text)
        except (ValueError, RecursionError):
            rows = None
        if not isinstance(rows, list):
            raise GatewayAnswerError(f"the image gateway {answer.url} answered without a list")
        return [LookupRow.from_wire(row) for row in rows if isinstance(row, dict)]

    def tags(self, repository: ImageReference, last: str | None, limit: int) -> TagPage:
        """The tags of a repository that its registry has after `last`, or some of them."""
        query = {"limit": str(limit)} | ({"last": last} if last else {})
        answer = self._ask(
            "GET",
            f"cannot list the tags of {repository}",
            f"{self._path('tags', repository)}?{urllib.parse.urlencode(query)}",
            payload=_payload(self._logins(repository)),
        )
        return TagPage.from_wire(_mapping(answer))

    def try_login(self, location: str, login: str) -> AcceptedLogin:
        """Have a registry look at `user:password`; it is kept nowhere."""
        answer = self._ask(
            "POST",
            f"cannot log in at {location}",
            self._path("login"),
            body=json.dumps({"location": location}, separators=(",", ":")).encode(),
            payload=_payload({location: login}),
            support_may_help=False,
        )
        accepted = AcceptedLogin.from_wire(_mapping(answer), location)
        if accepted is None:
            raise GatewayAnswerError(f"the image gateway {answer.url} does not say that it tried")
        return accepted

    def web_link(self) -> WebLink:
        """A link that shows the gateway's pages to the user in a browser, once."""
        answer = self._ask("POST", "cannot make a link to the web page", self._path("web"))
        link = WebLink.from_wire(_mapping(answer))
        if link is None:
            raise GatewayAnswerError(f"the image gateway {answer.url} gave no link")
        return link

    def _path(self, verb: str, reference: ImageReference | None = None) -> str:
        parts = ["api", verb, self._system]
        if reference is not None:
            parts += [reference.image_type, reference.tag]
        return "/" + "".join(urllib.parse.quote(part, safe="") + "/" for part in parts)

    def _ask(
        self,
        method: str,
        failing: str,
        path: str,
        *,
        body: bytes = b"",
        payload: bytes = b"",
        support_may_help: bool = True,
    ) -> Answer:
        """Go from gateway to gateway until one is neither silent nor broken."""
        silent = []
        broken: Answer | None = None
        for url in tuple(self._urls):
            credential = self._encode(payload)
            try:
                answer = exchange(url, method, path, credential, body, self._timeout)
            except (OSError, http.client.HTTPException) as error:
                silent.append(f"{url}: {cause(error)}")
                continue
            self._watch(answer)
            if answer.status < 500:
                self._prefer(url)
                _require_success(answer, failing, support_may_help)
                return answer
            broken = answer
        if broken is not None:
            _require_success(broken, failing)
        raise GatewayUnreachableError(
            f"failed to contact the image gateway. {'; '.join(silent)}; if this lasts, "
            "tell the site's support"
        )

    def _prefer(self, url: str) -> None:
        self._urls.remove(url)
        self._urls.insert(0, url)


def _require_success(answer: Answer, failing: str, support_may_help: bool = True) -> None:
    if answer.status == 200:
        return
    reason = _reason(answer)
    if answer.status in (404, 405) and reason.startswith(_NO_SUCH_ROUTE):
        raise GatewayTooOldError(
            f"{failing}: the image gateway {answer.url} is too old for that; ask the site's "
            "support to update it",
            answer.status,
        )
    message = f"{failing}: {reason}"
    if answer.status == 401 and "munge" not in message:
        message += " (munge credential not accepted: check this machine's munge key and clock)"
    elif answer.status == 403 and support_may_help:
        message += " (ask the site's support if you should be allowed to)"
    elif answer.status >= 500:
        message += f" (HTTP status {answer.status} from {answer.url})"
    raise GatewayRefusalError(message, answer.status)


def _reason(answer: Answer) -> str:
    """The gateway's own sentence, else what HTTP calls it."""
    with contextlib.suppress(GatewayAnswerError):
        fields = _mapping(answer)
        for key in ("error", "message"):
            text = fields.get(key)
            if isinstance(text, str) and text and text != "None":
                return text
    return f"the image gateway {answer.url} answered {answer.status} {answer.reason}"


def _mapping(answer: Answer) -> Mapping[str, object]:
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise GatewayAnswerError(
            f"the image gateway {answer.url} answered {answer.text[:40]!r}, which is not a JSON "
            "object: does imageGateway in udiRoot.conf name an image gateway?"
        )
    return value


def _list(answer: Answer) -> list[Mapping[str, object]]:
    fields = _mapping(answer)
    items = fields.get("list", fields.get("data"))
    if not isinstance(items, list):
        raise GatewayAnswerError(f"the image gateway {answer.url} answered without a list")
    return [item for item in items if isinstance(item, dict)]


def _payload(locations: Mapping[str, str]) -> bytes:
    if not locations:
        return b""
    return json.dumps({"authorized_locations": dict(locations)}, separators=(",", ":")).encode()


def _access_body(access: AccessLists) -> bytes:
    """Decimal ids joined by commas in one string each; nothing at all without lists."""
    fields = _access_fields(access)
    return json.dumps(fields, separators=(",", ":")).encode() if fields else b""


def _access_fields(access: AccessLists) -> dict[str, str]:
    lists = {"allowed_uids": access.uids, "allowed_gids": access.gids}
    return {name: ",".join(map(str, ids)) for name, ids in lists.items() if ids}
