# SPDX-License-Identifier: BSD-3-Clause
"""What srun, sbatch and salloc ask, as their user, before a job exists: what shall it run in?

The Slurm plugin starts this program. With exit status 0 its standard output is `NAME=VALUE`, each
ended by NUL; else the submission fails, and standard error has said why. Whoever waits for a job
to be submitted waits for this: what is not needed is not imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from shifter_cli import output
from shifter_cli.session import Session
from shifter_cli.submission.errors import SubmissionError
from shifter_cli.submission.options import Wish
from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig

    Records = dict[str, str]

_NO_MODULES = "none"
_FAILED = 1
_INTERRUPTED = 130  # as shells say for SIGINT
_LARGEST_ANSWER = 1 << 16  # bytes; all of it goes into the environment of every task


def main(config_path: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    if sys.stderr is not None:
        # Names from elsewhere must not break the sentences of a machine with a plain locale.
        getattr(sys.stderr, "reconfigure", lambda **_: None)(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(_status(config_path, words))


def _status(config_path: str, words: Sequence[str]) -> int:
    try:
        _write(_encode(answer(Wish.parse(words), Session(config_path))))
    except ShifterError as error:
        _say(str(error))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:  # all others were given words where they are known
        _say(f"cannot hand the answer over: {error.strerror}")
    except Exception as error:
        _say("\n".join(defects.lines(error, os.environ)))
        return defects.STATUS
    else:
        return 0
    return _FAILED


def answer(wish: Wish, session: Session) -> Records:
    """What the job gets. What is quickly refused is looked at before an image is pulled."""
    config = session.config
    reference = _reference(wish, config)
    records = {"SHIFTER_CCM": "1"} if wish.ccm else {}
    if wish.volumes:
        if reference is None:
            raise SubmissionError("--volume is of no use without --image: name the image, too")
        if chosen := _volumes(wish, config):
            records["SHIFTER_VOLUME"] = chosen
    if wish.modules is not None:
        records["SHIFTER_MODULE"] = _modules(wish.modules, config)
    if reference is not None:
        records |= _image(wish, reference, session)
        if wish.ssh_key:
            records |= _ssh_key(config)
    return records


def _reference(wish: Wish, config: RuntimeConfig) -> ImageReference | None:
    """The image as it was named; with --ccm alone, the root directory of each node."""
    reference = None
    if wish.image is not None:
        reference = ImageReference.parse(wish.image, config.default_image_type)
    if wish.ccm:
        host = ImageReference("local", "/")
        if reference not in (None, host):
            raise SubmissionError(
                f"--ccm runs a job on the system of the nodes, not in image {str(reference)!r}: "
                "leave one of the two out"
            )
        reference = host
    if reference is not None and reference.image_type == "local" and not config.allow_local_chroot:
        asked = "--ccm" if wish.ccm else f"image {str(reference)!r}"
        raise SubmissionError(
            f"{asked} cannot be had: this site does not allow directories of the nodes as images "
            "(allowLocalChroot in udiRoot.conf): choose an image of type docker, custom or id"
        )
    return reference


def _volumes(wish: Wish, config: RuntimeConfig) -> str:
    from shifter_cli.submission import volumes

    chosen = volumes.read(wish.volumes, os.environ)
    volumes.require_allowed(chosen, config)
    for doubt in volumes.doubts(chosen, config):
        _warn(doubt)
    return volumes.text_of(chosen)


def _modules(text: str, config: RuntimeConfig) -> str:
    from shifter_runtime import modules

    names = list(dict.fromkeys(name for name in text.split(",") if name))
    modules.select(names, config)
    return ",".join(names) or _NO_MODULES


def _image(wish: Wish, reference: ImageReference, session: Session) -> Records:
    """The image by its id, so that every node and every task has the same without asking."""
    from shifter_cli.submission import image

    if reference.image_type == "local":
        records = {"SHIFTER_IMAGETYPE": "local", "SHIFTER_IMAGE": reference.tag}
    elif reference.image_type == "id":
        if doubt := image.check_id(reference.tag, session.config):
            _warn(doubt)
        records = {"SHIFTER_IMAGETYPE": "id", "SHIFTER_IMAGE": reference.tag}
    else:
        image_id = image.find(reference, session, pull=wish.pull, say=_say)
        records = {
            "SHIFTER_IMAGETYPE": "id",
            "SHIFTER_IMAGE": image_id,
            "SHIFTER_PINNED_REQUEST": str(reference.with_default_tag()),
        }
    if wish.image is not None:
        records["SHIFTER_IMAGEREQUEST"] = reference.tag
    return records


def _ssh_key(config: RuntimeConfig) -> Records:
    """The public half of the user's key; a job goes without rather than not at all."""
    from shifter_cli.submission import ssh_key

    try:
        return {"SHIFTER_SSH_PUBKEY": ssh_key.of_caller(config)}
    except ShifterError as error:
        _warn(f"no ssh into the containers of this job: {error}")
        return {}


def _encode(records: Records) -> bytes:
    content = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in records.items())
    if len(content) > _LARGEST_ANSWER:
        raise SubmissionError(
            f"image, volumes and modules of a job may take {_LARGEST_ANSWER} bytes, not "
            f"{len(content)}: ask for fewer volumes"
        )
    return content


def _write(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


def _warn(text: str) -> None:
    _say(f"warning: {text}")


def _say(text: str) -> None:
    output.complain(text, "shifter")
