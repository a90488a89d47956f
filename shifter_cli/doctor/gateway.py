# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway says of the image, and who may use it."""

from __future__ import annotations

import grp
import os
import pwd
import time
from collections.abc import Iterator

from shifter_cli import output
from shifter_cli.doctor.findings import Observation, note, ok, problem
from shifter_cli.errors import GatewayTooOldError, ImageNotFoundError
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.session import Session, is_no_answer
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference


def ask(
    session: Session, reference: ImageReference
) -> tuple[ImageRecord | None, list[Observation]]:
    """The image's record, if the gateway shows one, and what is to be said of it."""
    if reference.image_type == "local":
        return None, [ok("image", f"{reference.tag} is a directory, which no gateway knows")]
    try:
        record = _record(session, reference)
    except ImageNotFoundError as error:
        return None, [problem("image", *_halves(str(error)))]
    except ShifterError as error:
        if is_no_answer(error):
            return None, [_silent(session, error)]
        return None, [problem("gateway", str(error))]
    if record is None:
        text = f"the gateway knows no image {reference.tag[:12]}… that you may use"
        return None, [note("image", text, "shifterimg images lists those that there are")]
    return record, [ok("gateway", "answers"), ok("image", _description(record, reference))]


def newer(
    session: Session, record: ImageRecord, reference: ImageReference
) -> Iterator[Observation]:
    """Whether the registry has something else under the tag by now."""
    if reference.image_type != "docker" or "@" in reference.tag:
        return
    digest = record.digest or f"sha256:{record.image_id}"
    try:
        upstream = session.gateway.upstream_id(reference)
    except GatewayTooOldError:
        return
    except ShifterError as error:
        yield note("registry", str(error), "the image that is here can be used all the same")
        return
    if upstream is None or digest == f"sha256:{upstream}":
        yield ok("registry", "has the same image under this name")
        return
    yield note(
        "registry",
        f"has another image under this name by now ({upstream[:12]}…)",
        f"if you want that one: shifterimg pull {reference}",
    )


def access(record: ImageRecord) -> Iterator[Observation]:
    """Which list lets the user in."""
    if not record.is_restricted:
        yield ok("access", "everybody may use it")
        return
    if os.getuid() in record.user_acl:
        yield ok("access", "the image is for a list of users, and you are in it")
        return
    groups = sorted({os.getgid(), *os.getgroups()} & set(record.group_acl))
    if groups:
        yield ok("access", f"your group {', '.join(map(_group, groups))} may use it")
        return
    yield problem(
        "access",
        "neither you nor a group of this session is in the lists of the image",
        f"ask {_puller(record)} to put you in, or newgrp if the group is yours",
    )


def _record(session: Session, reference: ImageReference) -> ImageRecord | None:
    if reference.image_type != "id":
        try:  # a lookup would count as one
            wire = session.gateway.inspect(reference, f"cannot find {reference}")
            return ImageRecord.from_wire(wire)
        except GatewayTooOldError:
            return session.gateway.lookup(reference)
    known = (one for one in session.gateway.images() if one.image_id == reference.tag)
    return next(known, None)


def _silent(session: Session, error: ShifterError) -> Observation:
    if "index" in session.config.image_lookup:
        return note(
            "gateway", str(error), "images are found by the index beside them; pulls have to wait"
        )
    return problem("gateway", str(error), "an image by its id, --image=id:…, needs no gateway")


def _description(record: ImageRecord, reference: ImageReference) -> str:
    parts = []
    if record.size is not None:
        parts.append(output.bytes_text(record.size))
    if record.architecture:
        parts.append(record.architecture)
    if record.last_pull:
        parts.append(f"pulled {time.strftime('%Y-%m-%d', time.localtime(record.last_pull))}")
    about = f" ({', '.join(parts)})" if parts else ""
    if reference.image_type == "id":
        return f"{', '.join(record.tags) or 'an image without a tag'}{about}"
    return f"{reference} is {record.image_id[:12]}…{about}"


def _halves(text: str) -> tuple[str, str]:
    """What failed, and the hint in brackets at the end of it."""
    before, bracket, hint = text.rpartition(" (")
    return (before, hint.removesuffix(")")) if bracket else (hint, "")


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _puller(record: ImageRecord) -> str:
    try:
        return pwd.getpwuid(record.puller).pw_name if record.puller is not None else "its puller"
    except (KeyError, OverflowError):
        return f"user {record.puller}"
