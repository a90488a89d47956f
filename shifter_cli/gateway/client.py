# SPDX-License-Identifier: BSD-3-Clause
"""The image gateway as a client sees it: one method for each thing it can be asked."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Protocol

from shifter_cli.errors import (
    GatewayAnswerError,
    GatewayRefusalError,
    ImageNotFoundError,
)
from shifter_cli.gateway.asking import Gateways, list_of, mapping_of, payload_of
from shifter_cli.gateway.exchange import Answer, Download
from shifter_cli.gateway.records import ImageRecord, LookupRow, QueuedJob
from shifter_cli.gateway.registry_records import AcceptedLogin, TagPage, WebLink
from shifter_common.reference import ImageReference


class AccessLists(Protocol):
    """Who may use a private image; a list that is empty says nothing."""

    @property
    def uids(self) -> Sequence[int]: ...
    @property
    def gids(self) -> Sequence[int]: ...


class GatewayClient(Gateways):
    """What image gateways can be asked."""

    def pull(self, reference: ImageReference, access: AccessLists) -> ImageRecord:
        """Ask for an image, or how far it is."""
        answer = self._ask_any(
            "POST",
            f"cannot pull {reference}",
            self._path("pull", reference),
            body=_access_body(access),
            payload=payload_of(self._logins(reference)),
        )
        return ImageRecord.from_wire(mapping_of(answer))

    def import_file(
        self, reference: ImageReference, path: str, file_format: str, access: AccessLists
    ) -> ImageRecord:
        """Ask for an image to be made of a file on the gateway's host, or how far that is."""
        fields = {"filepath": path, "format": file_format} | _access_fields(access)
        answer = self._ask_any(
            "POST",
            f"cannot import {path} as {reference}",
            self._path("doimport", reference),
            body=json.dumps(fields, separators=(",", ":")).encode(),
        )
        return ImageRecord.from_wire(mapping_of(answer))

    def lookup(self, reference: ImageReference) -> ImageRecord:
        """The READY image that carries a tag."""
        answer = self._find("lookup", reference, f"cannot find {reference}")
        record = ImageRecord.from_wire(mapping_of(answer))
        if not record.image_id:
            raise GatewayAnswerError(f"the image gateway {answer.url} gave no id for {reference}")
        return record

    def inspect(self, reference: ImageReference, failing: str = "") -> Mapping[str, object]:
        """All that is known of an image; unlike a lookup, this keeps none from expiring.

        `failing` says what could not be done without it, for who did not ask to inspect an image.
        """
        what = failing or f"cannot inspect {reference}"
        return mapping_of(self._find("inspect", reference, what))

    def images(self) -> list[ImageRecord]:
        """Every READY image of the system that the caller may use."""
        answer = self._ask_any(
            "GET", f"cannot list the images of {self._system}", self._path("list")
        )
        return [ImageRecord.from_wire(item) for item in list_of(answer)]

    def queue(self) -> list[QueuedJob]:
        """Every pull, import and removal of the system that has not ended well."""
        answer = self._ask_any(
            "GET", f"cannot list the pulls of {self._system}", self._path("queue")
        )
        return [QueuedJob.from_wire(item) for item in list_of(answer)]

    def export(self, reference: ImageReference, start: int) -> Download:
        """The bytes of an image's file, from `start` on."""
        return self._download(f"cannot export {reference}", self._path("export", reference), start)

    def set_access(
        self, reference: ImageReference, access: AccessLists, *, public: bool
    ) -> ImageRecord:
        """Have only these, and its owner, use an image, or everybody; or how far that is."""
        fields = {
            "allowed_uids": ",".join(map(str, access.uids)),
            "allowed_gids": ",".join(map(str, access.gids)),
            "public": public,
        }
        answer = self._ask_any(
            "POST",
            f"cannot change who may use {reference}",
            self._path("acl", reference),
            body=json.dumps(fields, separators=(",", ":")).encode(),
        )
        return ImageRecord.from_wire(mapping_of(answer))

    def cancel(self, reference: ImageReference) -> Mapping[str, object]:
        """End a pull or an import that waits or runs."""
        answer = self._ask_any(
            "POST", f"cannot cancel {reference}", self._path("cancel", reference)
        )
        return mapping_of(answer)

    def expire(self, reference: ImageReference, failing: str = "") -> None:
        """Have an image removed from the system; `failing` as of `inspect`.

        Gateways of the original answer a refusal with status 200 and `false` or `null`.
        """
        what = failing or f"cannot expire {reference}"
        answer = self._ask_any("GET", what, self._path("expire", reference))
        status = mapping_of(answer).get("status")
        if status is None:
            raise GatewayRefusalError(f"{what}: no such image", 404)
        if status is not True:
            raise GatewayRefusalError(f"{what}: only administrators of {self._system} may", 403)

    def autoexpire(self) -> list[str]:
        """Have every image removed whose time has come; their ids."""
        failing = f"cannot expire the unused images of {self._system}"
        answer = self._ask_any("GET", failing, self._path("autoexpire"))
        ids = mapping_of(answer).get("status")
        if not isinstance(ids, list):
            raise GatewayRefusalError(f"{failing}: only its administrators may", 403)
        return [str(image_id) for image_id in ids]

    def lookups(self, limit: int) -> list[LookupRow]:
        """The last lookups of the system, oldest first; nothing for who is no administrator."""
        failing = f"cannot list the lookups on {self._system}"
        answer = self._ask_any("GET", failing, f"{self._path('metrics')}?limit={limit}")
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
        answer = self._ask_any(
            "GET",
            f"cannot list the tags of {repository}",
            f"{self._path('tags', repository)}?{urllib.parse.urlencode(query)}",
            payload=payload_of(self._logins(repository)),
        )
        return TagPage.from_wire(mapping_of(answer))

    def upstream_id(self, reference: ImageReference) -> str | None:
        """The id that a pull would give the image now; None where the gateway does not say."""
        answer = self._ask_any(
            "GET",
            f"cannot ask the registry for {reference}",
            self._path("upstream", reference),
            payload=payload_of(self._logins(reference)),
        )
        image_id = mapping_of(answer).get("id")
        return image_id if isinstance(image_id, str) and image_id else None

    def try_login(self, location: str, login: str) -> AcceptedLogin:
        """Have a registry look at `user:password`; it is kept nowhere."""
        answer = self._ask_any(
            "POST",
            f"cannot log in at {location}",
            self._path("login"),
            body=json.dumps({"location": location}, separators=(",", ":")).encode(),
            payload=payload_of({location: login}),
            support_may_help=False,
        )
        accepted = AcceptedLogin.from_wire(mapping_of(answer), location)
        if accepted is None:
            raise GatewayAnswerError(f"the image gateway {answer.url} does not say that it tried")
        return accepted

    def web_link(self) -> WebLink:
        """A link that shows the gateway's pages to the user in a browser, once."""
        answer = self._ask_any("POST", "cannot make a link to the web page", self._path("web"))
        link = WebLink.from_wire(mapping_of(answer))
        if link is None:
            raise GatewayAnswerError(f"the image gateway {answer.url} gave no link")
        return link

    def _find(self, verb: str, reference: ImageReference, failing: str) -> Answer:
        try:
            return self._ask_any("GET", failing, self._path(verb, reference))
        except GatewayRefusalError as error:
            if "image not found" not in str(error):
                raise
            hint = ""
            if reference.image_type == "docker":
                hint = f" (shifterimg pull {reference} fetches an image)"
            elif reference.image_type == "custom":
                hint = f" (shifterimg import FILE {reference.tag} makes it of a file of yours)"
            words = str(error)
            if reference == reference.with_default_tag():  # else the tag is news
                words = words.replace(f"image not found: {reference} is", "image not found: it is")
            raise ImageNotFoundError(f"{words}{hint}", error.status) from error


def _access_body(access: AccessLists) -> bytes:
    """Decimal ids joined by commas in one string each; nothing at all without lists."""
    fields = _access_fields(access)
    return json.dumps(fields, separators=(",", ":")).encode() if fields else b""


def _access_fields(access: AccessLists) -> dict[str, str]:
    lists = {"allowed_uids": access.uids, "allowed_gids": access.gids}
    return {name: ",".join(map(str, ids)) for name, ids in lists.items() if ids}
