# SPDX-License-Identifier: BSD-3-Clause
"""Find the container that was prepared for a job on this node, and move into it.

A prepared container is a mount namespace whose root it is; setupRoot keeps it below
STATE_DIRECTORY, which only root can read. What a launch trusts is what stands there, never what the
container holds. Every launch comes here, and most find nothing: that costs one failed open for
each name.
"""

from __future__ import annotations

import os
import sys

from shifter_runtime import syscalls
from shifter_runtime.errors import MissingImageError, SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shifter_common.reference import ImageReference
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity
    from shifter_runtime.image import Image
    from shifter_runtime.job.record import Record

    Kept = list[tuple[str, Record]]  # with the name of each

STATE_DIRECTORY = "/run/shifter/udi"
NODE = "node"  # the container of the whole node, which belongs to no job in particular
RECORD = "record"
NAMESPACE = "namespace"

# What batch systems call a job, and which element of an array of jobs it is where that has a
# variable of its own; the first is for those that have none. JOB_ID alone could be anybody's.
_JOB_VARIABLES = (
    *(("SHIFTER_JOB_ID", ""), ("SLURM_JOB_ID", ""), ("SLURM_JOBID", ""), ("PBS_JOBID", "")),
    *(("LSB_JOBID", "LSB_JOBINDEX"), ("JOB_ID", "SGE_TASK_ID")),
)
_NO_ELEMENT = ("0", "undefined")  # of an array: as LSF and Grid Engine write it
_LONGEST_ID = 128  # PBS adds the name of its server
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_ID_CHARACTERS = _LETTERS | frozenset("._-[]")  # PBS calls an element of an array 12[3].server


class Prepared:
    """A container of setupRoot's that is what this launch would build."""

    __slots__ = ("_namespace", "name")

    def __init__(self, name: str, namespace: int) -> None:
        self.name = name
        self._namespace = namespace

    def __str__(self) -> str:
        return f"the container prepared for {called(self.name)}"

    def enter(self) -> None:
        """Make it this process's root, and close what it was found by."""
        sys.meta_path.clear()  # whatever was imported from here on would come out of the image
        try:
            # This sets root and working directory, too, and leaves no mount of the node's behind.
            syscalls.enter_mounts(self._namespace)
        except OSError as error:
            raise SetupError(f"cannot join {self}: {error.strerror}") from error
        os.close(self._namespace)


def records(user: Identity, environment: Mapping[str, str]) -> Kept:
    """Of what is prepared under the names that a user may give, what is his."""
    kept = []
    for name in names(environment):
        try:
            fd = os.open(f"{STATE_DIRECTORY}/{name}/{RECORD}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        from shifter_runtime.job import record  # here: few launches find something to join

        found = record.read(fd)
        if found is not None and found.uid == user.uid:
            kept.append((name, found))
    return kept


def pinned(reference: ImageReference, kept: Kept) -> tuple[str, str] | None:
    """Which image a reference meant when a container of it was prepared, and for which job.

    So all launches of a job have one image, whatever is pulled meanwhile, and ask no gateway.
    """
    if not kept or reference.image_type not in ("docker", "custom"):
        return None
    wanted = str(reference.with_default_tag())
    for name, record in kept:
        if record.request == wanted:
            return record.parts()[0], name
    return None


def find(description: str, kept: Kept, config: RuntimeConfig) -> Prepared | None:
    """The container whose shifterConfig.json is `description`, if there is one."""
    for name, record in kept:
        if record.description == description:
            namespace = record.open(f"{STATE_DIRECTORY}/{name}", config.udi_mount)
            if namespace is not None:
                return Prepared(name, namespace)
    return None


def recall(image_id: str, kept: Kept) -> Image | None:
    """An image that has gone since a container was prepared of it, as far as joining needs it."""
    from shifter_runtime.job.record import identifier_of, image_of

    for _, record in kept:
        if record.metadata and record.description.startswith(identifier_of(image_id)):
            return image_of(image_id, record)
    return None


def missing(image: Image) -> MissingImageError:
    """The complaint of an image that was only recalled, where nothing is there to be joined."""
    return MissingImageError(
        f"cannot find requested image: {image.path} does not exist, and this launch differs from "
        "the container that was prepared for the job: pull the image again"
    )


def is_job_id(text: str) -> bool:
    """Whether this may name a job: it becomes the name of a directory of root's."""
    return (
        0 < len(text) <= _LONGEST_ID
        and text[0] in _LETTERS
        and _ID_CHARACTERS.issuperset(text)
        and text != NODE
    )


def element(job: str, index: str) -> str:
    """The name of a job, or of that element of an array of jobs."""
    return f"{job}.{index}" if job and index and index not in _NO_ELEMENT else job


def called(name: str) -> str:
    """What a person is told that a name below STATE_DIRECTORY stands for."""
    return "this node" if name == NODE else f"job {name}"


def names(environment: Mapping[str, str]) -> list[str]:
    """The job's own container goes before the node's. Variables are text that a user chose."""
    names = []
    for variable, index in _JOB_VARIABLES:
        if variable == "JOB_ID" and index not in environment:
            continue  # not Grid Engine's
        name = element(environment.get(variable, ""), environment.get(index, ""))
        if name not in names and is_job_id(name):
            names.append(name)
    return [*names, NODE]
