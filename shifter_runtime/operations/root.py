# SPDX-License-Identifier: BSD-3-Clause
"""The image mounted, the container's root made of it, and that root closed to writers."""

from __future__ import annotations

import errno
import os

from shifter_runtime import loop, syscalls, trust
from shifter_runtime.errors import SetupError, UntrustedPathError
from shifter_runtime.identity import Identity
from shifter_runtime.image import Image, open_local
from shifter_runtime.udi import Udi

_READ_ONLY: tuple[tuple[str, str | None], ...] = (("ro", None),)
# A journal that was not replayed would have to be written, which a read-only device refuses.
# And whatever an image says that is to be done about damage, which may be to halt the node.
_OPTIONS = {
    "ext4": (*_READ_ONLY, ("noload", None), ("errors", "continue")),
    # Images that were copied from one have its UUID: they may be mounted beside each other.
    "xfs": (*_READ_ONLY, ("norecovery", None), ("nouuid", None)),
}
# What the kernel says of a filesystem that it cannot read.
_REFUSALS = (errno.EINVAL, errno.EIO, errno.EUCLEAN, errno.EFBIG, errno.ENOMEM)


class MountImage:
    """Mount the image's file on loopMount, through the loop device that it has on this node.

    Where it had none yet, `read_ahead` bytes of the file are read in the background.
    """

    def __init__(self, image: Image, place: str, read_ahead: int = 0) -> None:
        self.image = image
        self.place = place
        self.read_ahead = read_ahead

    def __str__(self) -> str:
        ahead = f", reading {self.read_ahead} bytes ahead" if self.read_ahead else ""
        return f"mount {self.image.path} on {self.place} (ro,nosuid,nodev){ahead}"

    def execute(self) -> None:
        device = loop.attach(self.image.fd)
        if device.is_new and self.read_ahead:
            from shifter_runtime import read_ahead  # here: few sites want it

            read_ahead.begin(self.image.fd, self.read_ahead)
        try:
            mount = self._mount(device.path)
        finally:
            os.close(device.fd)
        attach_at(mount, self.place)

    def _mount(self, device: str) -> int:
        fstype = self.image.metadata.format
        options = (("source", device), *_OPTIONS.get(fstype, _READ_ONLY))
        try:
            return syscalls.make_filesystem(
                fstype, options, syscalls.MOUNT_ATTR_RDONLY | syscalls.NOSUID_NODEV
            )
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            from shifter_runtime import superblock  # here: hardly any image is refused

            problem = superblock.problem(self.image.fd, fstype)
            raise SetupError(f"cannot mount image {self.image.path}: {problem}") from error


class BindImage:
    """Make an image that is a directory visible on loopMount, where files are mounted.

    The directory was opened and checked before this process had mounts of its own, and only what
    is found below those can be bound. So it is found again, and must be the same.
    """

    def __init__(self, image: Image, place: str) -> None:
        self.image = image
        self.place = place

    def __str__(self) -> str:
        return f"bind {self.image.path} on {self.place} (ro,nosuid,nodev)"

    def execute(self) -> None:
        source = self._open()
        if not os.path.samestat(os.fstat(source), os.fstat(self.image.fd)):
            raise SetupError(f"{self.image.path} was replaced at this moment: try again")
        mount = syscalls.clone_tree(source, recursive=False, name=self.image.path)
        os.close(source)
        syscalls.set_attributes(
            mount,
            syscalls.MOUNT_ATTR_RDONLY | syscalls.NOSUID_NODEV,
            recursive=False,
            propagation=syscalls.MS_PRIVATE,
            name=self.image.path,
        )
        attach_at(mount, self.place)

    def _open(self) -> int:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.image.path, flags)


class BindLocal(BindImage):
    """Make a directory that the user names visible on loopMount, as the image.

    Only what he can reach is bound, and nothing that is mounted below it: that may be what the
    overlay must not have, such as /proc.
    """

    def __init__(self, image: Image, place: str, user: Identity) -> None:
        super().__init__(image, place)
        self.user = user

    def __str__(self) -> str:
        return f"{super().__str__()} as {self.user.name}"

    def _open(self) -> int:
        return open_local(self.image.path, self.user)


class MountRoot:
    """Mount the container's root on udiMount: the image below, a small writable layer above.

    Names can so be added anywhere, and nothing of the image is copied. The writable layer is a
    tmpfs that is reachable through the overlay alone, since the overlay covers it.
    """

    def __init__(self, image_place: str, place: str, fstype: str) -> None:
        self.image_place = image_place
        self.place = place
        self.fstype = fstype

    def __str__(self) -> str:
        layers = f"{self.image_place} and {self.fstype}"
        return f"mount overlay of {layers} on {self.place} (nosuid,nodev)"

    def execute(self) -> Udi:
        # Kernels before 6.15 refuse an overlay of mounts that are attached nowhere.
        layer = syscalls.make_filesystem(self.fstype, self._layer_options(), syscalls.NOSUID_NODEV)
        attach_at(layer, self.place)
        upper, work = self.place + "/upper", self.place + "/work"
        os.mkdir(upper, 0o755)
        os.mkdir(work, 0o700)
        mount = syscalls.make_filesystem(
            "overlay",
            (
                ("source", "shifter"),
                ("lowerdir", self.image_place),
                ("upperdir", upper),
                ("workdir", work),
                # Extended attributes of an image must not redirect the overlay elsewhere.
                ("redirect_dir", "nofollow"),
                ("metacopy", "off"),
                ("index", "off"),
                ("xino", "off"),
            ),
            syscalls.NOSUID_NODEV,
        )
        # The covered tmpfs is still what the path means, so the overlay goes on top of it.
        attach_at(mount, self.place, keep=True)
        return Udi(self.place, mount)

    def _layer_options(self) -> tuple[tuple[str, str | None], ...]:
        return (("mode", "0755"),)


class SealRoot:
    """Make the container's root read-only, by whichever volume it is reached, too.

    What else is mounted below keeps its own restrictions.
    """

    def __str__(self) -> str:
        return "make / read-only"

    def execute(self, udi: Udi) -> None:
        syscalls.remount_read_only(udi.place)


def attach_at(mount: int, place: str, *, keep: bool = False) -> None:
    """Attach a detached mount at a path of the node's, and close it unless it is to be kept."""
    target = _open_place(place)
    syscalls.attach(mount, target, place)
    os.close(target)
    if not keep:
        os.close(mount)


def _open_place(place: str) -> int:
    """Where an image or a root is mounted: a path that keeps its meaning while it is used."""
    try:
        return trust.open_mount_point(place)
    except UntrustedPathError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    trust.make_mount_point(place)
    return trust.open_mount_point(place)
