# SPDX-License-Identifier: BSD-3-Clause
"""The image that a name means now, by its id: from the gateway, or from the index beside images.

A job keeps it from submission to its end, whatever becomes of the name.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shifter_cli.errors import ImageNotFoundError
from shifter_cli.session import Session, is_no_answer
from shifter_cli.submission.errors import SubmissionError, UnansweredError
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference, is_image_id
from shifter_runtime import image as images
from shifter_runtime import tag_index
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import (
    MissingImageError,
    NotPermittedError,
    SetupError,
    UntrustedPathError,
)
from shifter_runtime.identity import Identity

if TYPE_CHECKING:
    from shifter_cli.gateway.records import ImageRecord
_MOST_NAMES = 3  # to offer for one that is not there


def find(
    reference: ImageReference, session: Session, *, pull: bool, say: Callable[[str], None]
) -> str:
    """The id; an image that is not there is pulled first, if it may be.

    The sources that the site names in imageLookup are asked in order, as the runtime asks them:
    the index is no way around what a gateway refuses.
    """
    try:
        return _checked(_look_up(reference, session, say))
    except ImageNotFoundError as error:
        if not pull or reference.image_type != "docker":
            raise SubmissionError(f"{error}{_names_like(reference, session)}") from error
    return _checked(_pull(reference, session))


def check_id(image_id: str, config: RuntimeConfig) -> str:
    """What is odd about the image of this id, or nothing, also where that cannot be seen here."""
    _checked(image_id)
    if not os.access(config.image_path, os.R_OK | os.X_OK):
        return ""
    try:
        _require_readable(image_id, config)
    except NotPermittedError:
        raise
    except MissingImageError:
        return (
            f"there is no image {image_id} in {config.image_path} of this machine: should the "
            "nodes not have it either, the job will not start"
        )
    except ShifterError as error:
        return str(error)
    return ""


def _look_up(reference: ImageReference, session: Session, say: Callable[[str], None]) -> str:
    complaints: list[str] = []
    problems: list[str] = []
    for source in session.config.image_lookup:
        try:
            image_id = _SOURCES[source](reference, session)
        except UnansweredError as error:
            problems.append(str(error))
            complaints += [error.complaint] if error.complaint else []
        else:
            if complaints:
                say(f"{', '.join(problems)}: asked the {source}")
            return image_id
    sentence = f"cannot use image {str(reference)!r}: {', and '.join(problems)}"
    if "gateway" not in session.config.image_lookup:
        raise ImageNotFoundError(f"{sentence} (shifterimg pull {reference} fetches it)", 404)
    hint = (
        "--image=id:ID needs no gateway: ID is what SHIFTER_IMAGE says in a job with that image, "
        f"or shifterimg lookup {reference} has said before"
    )
    raise SubmissionError("\n".join([*complaints, f"{sentence} ({hint})"]))


def _ask_gateway(reference: ImageReference, session: Session) -> str:
    """The id; nobody's name where no gateway, or no munge, says anything about the image."""
    if not session.config.image_gateway:
        raise UnansweredError("no image gateway is known (imageGateway)")
    try:
        return session.gateway.lookup(reference).image_id
    except ShifterError as error:
        if not is_no_answer(error):
            raise
        raise UnansweredError("no image gateway answered", str(error)) from error


def _read_index(reference: ImageReference, session: Session) -> str:
    config = session.config
    try:
        image_id = tag_index.read(reference.with_default_tag(), config)
    except UntrustedPathError:
        raise
    except SetupError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise UnansweredError(str(error)) from error
        from shifter_cli.submission import launcher  # here: it is for when no gateway answers

        return launcher.image_id(reference, config)
    if image_id is not None:
        with contextlib.suppress(NotPermittedError):  # whose name may be private, too
            _require_readable(image_id, config)
            return image_id
    raise UnansweredError(f"it is not in the index {tag_index.path(config)}")


_SOURCES = {"gateway": _ask_gateway, "index": _read_index}


def _require_readable(image_id: str, config: RuntimeConfig) -> None:
    """Hold the caller to the image's access list, where users can read it; the nodes do anyway."""
    try:
        found = images.open_image(image_id, config)
    except SetupError as error:
        if isinstance(error.__cause__, PermissionError):
            return  # the gateway writes them for root alone
        raise
    os.close(found.fd)
    found.require_readable_by(_caller())


def _caller() -> Identity:
    """Who submits, by the ids that the nodes will see, too."""
    uid, gid = os.getuid(), os.getgid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Identity(
        uid=uid, gid=gid, groups=sorted({gid, *os.getgroups()}), name=name, gecos="", home="",
        shell="", group_names=[],
    )  # fmt: skip


def _checked(image_id: str) -> str:
    if not is_image_id(image_id):
        raise SubmissionError(
            f"{image_id!r} is no image id: an id is 64 lower-case hexadecimal digits, as "
            "shifterimg lookup prints it"
        )
    return image_id


def _pull(reference: ImageReference, session: Session) -> str:
    """Have the image pulled, and show how far that is where a person may see it."""
    from shifter_cli.progress import forms, pulls

    last: list[ImageRecord] = []

    def ask(reference: ImageReference) -> ImageRecord:
        last[:] = [session.gateway.pull(reference, session.access_lists())]
        return last[0]

    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    # Standard output is the plugin's.
    with contextlib.redirect_stdout(sys.stderr):
        pulls.wait(ask, [reference], forms.choose(verbose=not is_terminal, as_json=False))
    return last[0].image_id or session.gateway.lookup(reference).image_id


def _names_like(reference: ImageReference, session: Session) -> str:
    """Which images there are that may have been meant; nothing where that cannot be known."""
    from shifter_runtime.spelling import nearest_to

    if "gateway" not in session.config.image_lookup:
        return ""
    try:
        records = session.gateway.images()
    except ShifterError:
        return ""
    wanted = reference.with_default_tag().tag
    tags = {tag for each in records if each.image_type == reference.image_type for tag in each.tags}
    close = [tag for tag in tags if abs(len(tag) - len(wanted)) <= 2 and _shares_part(tag, wanted)]
    if close and (nearest := nearest_to(wanted, sorted(close))):
        return f"; did you mean {reference.image_type}:{nearest}?"
    related = sorted(tag for tag in tags if _parts(tag)[0] == _parts(wanted)[0])
    if not related:
        return ""
    names = ", ".join(f"{reference.image_type}:{tag}" for tag in related[:_MOST_NAMES])
    more = f" and {len(related) - _MOST_NAMES} more" if len(related) > _MOST_NAMES else ""
    return f"; of that name there is {names}{more}"


def _shares_part(tag: str, wanted: str) -> bool:
    """Whether only one half differs: spelling is compared slowly, and a site has many images."""
    return any(one == other for one, other in zip(_parts(tag), _parts(wanted), strict=True))


def _parts(tag: str) -> tuple[str, str]:
    """Repository, and which of its images."""
    if "@" in tag:
        repository, _, digest = tag.partition("@")
        return repository, digest
    directory, slash, name = tag.rpartition("/")
    name, _, version = name.partition(":")
    return f"{directory}{slash}{name}", version
