# SPDX-License-Identifier: BSD-3-Clause
"""What setupRoot writes down about a container that it prepared, and a launch holds it against."""

from __future__ import annotations

import os

from shifter_common.errors import InvalidMetadataError
from shifter_common.metadata import ImageMetadata, json_string
from shifter_runtime import trust
from shifter_runtime.errors import SetupError
from shifter_runtime.image import Image
from shifter_runtime.job.joining import NAMESPACE

_HEAD = "shifter-udi 2"
_OLD_HEAD = "shifter-udi 1"  # without the request: a container outlives an update of Shifter
_PROCESSES = "/proc/self/ns/pid"


class Record:
    """Whose container it is, what it was made of, and how to know that it is still that one.

    `namespace` and `processes` are the inodes of its mount namespace and of the pid namespace that
    its /proc shows; `device` is that of the root mounted on udiMount, 0 for the container of a job.
    `request` is what the image was called when it was looked up, if it was.
    """

    __slots__ = (
        "description",
        "device",
        "metadata",
        "namespace",
        "processes",
        "request",
        "uid",
        "user",
    )

    def __init__(
        self,
        *,
        uid: int,
        user: str,
        namespace: int,
        processes: int,
        device: int,
        request: str,
        description: str,
        metadata: str,
    ) -> None:
        self.uid = uid
        self.user = user
        self.namespace = namespace
        self.processes = processes
        self.device = device
        self.request = request
        self.description = description
        self.metadata = metadata

    def to_text(self) -> str:
        """One line each; the metadata, which is many, comes last.

        Slurm's plugin reads the user's id: the first number of the second line, in any version.
        """
        numbers = f"{self.uid} {self.namespace} {self.processes} {self.device}"
        lines = f"{_HEAD}\n{numbers}\n{self.user}\n{self.request}\n"
        return f"{lines}{self.description}{self.metadata}"

    def parts(self) -> tuple[str, str, str]:
        """Image, volumes and modules, as they stand in the description."""
        return parts_of(self.description)

    def open(self, directory: str, udi_mount: str) -> int | None:
        """A descriptor of its mount namespace, if it is there and fit for this process."""
        if own_processes() != self.processes:
            return None  # its /proc would not know this process
        if self.device and device_at(udi_mount) != self.device:
            return None  # somebody unmounted it by hand
        try:
            fd = os.open(f"{directory}/{NAMESPACE}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        if os.fstat(fd).st_ino != self.namespace:
            os.close(fd)
            return None  # the file it was mounted on, which shows elsewhere than on this node
        return fd


def read(fd: int) -> Record | None:
    """The record that `fd` is open on, which is closed; None where another release wrote it."""
    try:
        text = trust.read_all(fd, "a record of setupRoot's").decode("utf-8", "surrogateescape")
    except (OSError, SetupError):
        return None
    finally:
        os.close(fd)
    head, _, rest = text.partition("\n")
    if head not in (_HEAD, _OLD_HEAD):
        return None
    numbers, user, rest = (*rest.split("\n", 2), "", "")[:3]
    request = ""
    if head == _HEAD:
        request, _, rest = rest.partition("\n")
    description, _, metadata = rest.partition("\n")
    try:
        uid, namespace, processes, device = map(int, numbers.split())
    except ValueError:
        return None
    return Record(
        uid=uid,
        user=user,
        namespace=namespace,
        processes=processes,
        device=device,
        request=request,
        description=description + "\n",
        metadata=metadata,
    )


def own_processes() -> int:
    """The inode of the pid namespace that this process is in."""
    return os.stat(_PROCESSES).st_ino


def device_at(path: str) -> int:
    """The device of what is mounted at `path`, or of the directory there; 0 where nothing is."""
    try:
        return os.stat(path, follow_symlinks=False).st_dev
    except OSError:
        return 0


def identifier_of(image_id: str) -> str:
    """How the description of every container of that image begins."""
    return f'{{"identifier":{json_string(image_id)},'


def parts_of(description: str) -> tuple[str, str, str]:
    """Image, volumes and modules of shifterConfig.json, as JSON has them between its quotes."""
    _, _, rest = description.partition('"identifier":"')
    image, _, rest = rest.partition('","user":"')
    volumes, _, modules = rest.partition('","volMap":"')[2].partition('","modules":"')
    return image, volumes, modules.rstrip().removesuffix('"}')


def image_of(image_id: str, record: Record) -> Image | None:
    """The image as it was when the container was made; nothing of it can be mounted any more."""
    try:
        metadata = ImageMetadata.parse(record.metadata)
    except InvalidMetadataError:
        return None
    return Image(image_id, f"the file of image {image_id}", -1, metadata)
