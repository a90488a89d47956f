# SPDX-License-Identifier: BSD-3-Clause
"""Which image a name means now: what the gateway says, or the index beside the images."""

from __future__ import annotations

import os

from shifter_common.reference import is_image_id
from shifter_runtime import identity, image
from shifter_runtime.errors import NotPermittedError, SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shifter_common.reference import ImageReference
    from shifter_runtime.config import RuntimeConfig

_NO_ANSWER = 75  # how `shifterimg lookup` ends when no gateway answers: EX_TEMPFAIL
_LONGEST_ANSWER = 4096
_LONGEST_COMPLAINT = 1 << 16
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


class _UnansweredError(Exception):
    """A source that cannot tell, so that the next one is asked; `complaint` is shifterimg's."""

    def __init__(self, problem: str, complaint: bytes = b"") -> None:
        super().__init__(problem)
        self.complaint = complaint


def find(
    reference: ImageReference,
    user: identity.Identity,
    config: RuntimeConfig,
    say: Callable[[str], None],
) -> str:
    """The id of the image that a reference means now; `id:` is one already, `local:` a path.

    The sources that the site names in imageLookup are asked in order. The index is no way around
    what a gateway refuses: behind the gateway, it is asked only when no gateway answers.
    """
    if reference.image_type == "id":
        return _checked(reference.tag)
    if reference.image_type == "local":
        return reference.tag
    problems: list[str] = []
    complaint = b""
    for source in config.image_lookup:
        try:
            image_id = _SOURCES[source](reference, user, config)
        except _UnansweredError as error:
            problems.append(str(error))
            complaint += error.complaint
        except SetupError as error:
            raise SetupError(_sentence(reference, [*problems, str(error)])) from error
        else:
            if problems:
                say(f"{', '.join(problems)}: asked the {source}")
            return _checked(image_id)
    identity.write(2, complaint)
    raise SetupError(_sentence(reference, problems))


def _ask_gateway(reference: ImageReference, user: identity.Identity, config: RuntimeConfig) -> str:
    """Run `shifterimg lookup` as the user, who proves to the gateway who he is by munge."""
    if not config.image_gateway:
        raise _UnansweredError("no image gateway is known (imageGateway)")
    program = config.udi_root_path + "/bin/shifterimg"
    reading, writing = os.pipe()
    complaints = os.memfd_create("complaints")  # a pipe might fill up before the answer comes
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writing, 1)
            os.dup2(complaints, 2)
            identity.become(user)
            os.execve(program, [program, "lookup", str(reference)], _ENVIRONMENT)
        except OSError as error:
            os.write(2, os.fsencode(f"shifter: cannot run {program}: {error.strerror}\n"))
        finally:
            os._exit(126)
    os.close(writing)
    answer = os.read(reading, _LONGEST_ANSWER).decode("ascii", "replace").strip()
    os.close(reading)
    _, status = os.waitpid(child, 0)
    complaint = os.pread(complaints, _LONGEST_COMPLAINT, 0)
    os.close(complaints)
    code = os.waitstatus_to_exitcode(status)
    if code == _NO_ANSWER:
        raise _UnansweredError("no image gateway answered", complaint)
    identity.write(2, complaint)
    if code != 0 or not answer:
        raise SetupError("it could not be looked up")  # why, shifterimg has just said
    return answer


def _read_index(reference: ImageReference, user: identity.Identity, config: RuntimeConfig) -> str:
    # Here, because most launches of a job do without: they know the image's id.
    from shifter_runtime import tag_index

    image_id = tag_index.read(reference.with_default_tag(), config)
    if image_id is None or not _may_use(image_id, user, config):
        raise _UnansweredError(f"it is not in the index {tag_index.path(config)}")
    return image_id


def _may_use(image_id: str, user: identity.Identity, config: RuntimeConfig) -> bool:
    """Whether a user may know that there is this image: its name may be private, too."""
    found = image.open_image(image_id, config)
    os.close(found.fd)
    try:
        found.require_readable_by(user)
    except NotPermittedError:
        return False
    return True


_SOURCES = {"gateway": _ask_gateway, "index": _read_index}


def _checked(image_id: str) -> str:
    if not is_image_id(image_id):
        raise SetupError(f"{image_id!r} is no image id: an id is 64 lower-case hexadecimal digits")
    return image_id


def _sentence(reference: ImageReference, problems: list[str]) -> str:
    return f"cannot use image {str(reference)!r}: {', and '.join(problems)}"
