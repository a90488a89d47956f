# SPDX-License-Identifier: BSD-3-Clause
"""Everything that root can do to build a container: the whole vocabulary, one class each.

A plan is a list of these. `str()` says what one does, for `--dry-run` and for errors; `execute`
does it, in the private mount namespace, on the UDI that the first of them made.
"""

from __future__ import annotations

import os
import stat

from shifter_runtime import identity, loop, syscalls, trust
from shifter_runtime.errors import SetupError, VolumeError
from shifter_runtime.image import Image
from shifter_runtime.udi import Udi
from shifter_runtime.volumes import check_target

_NOSUID_NODEV = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_MOST_MOUNTS = 4096  # below the container's root
_READ_ONLY: tuple[tuple[str, str | None], ...] = (("ro", None),)
# A journal that was not replayed would have to be written, which a read-only device refuses.
# And whatever an image says that is to be done about damage, which may be to halt the node.
_OPTIONS = {
    "ext4": (*_READ_ONLY, ("noload", None), ("errors", "continue")),
    "xfs": (*_READ_ONLY, ("norecovery", None)),
}
_PROPAGATION = {"private": syscalls.MS_PRIVATE, "slave": syscalls.MS_SLAVE}


class MountImage:
    """Mount the image's file on loopMount, through the loop device that it has on this node."""

    def __init__(self, image: Image, place: str) -> None:
        self.image = image
        self.place = place

    def __str__(self) -> str:
        return f"mount {self.image.path} on {self.place} (ro,nosuid,nodev)"

    def execute(self) -> None:
        device = loop.attach(self.image.fd)
        try:
            mount = syscalls.make_filesystem(
                self.image.metadata.format,
                (("source", device.path), *_OPTIONS.get(self.image.metadata.format, _READ_ONLY)),
                syscalls.MOUNT_ATTR_RDONLY | _NOSUID_NODEV,
            )
        finally:
            os.close(device.fd)
        _attach_at(mount, self.place)


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
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        source = os.open(self.image.path, flags)
        if not os.path.samestat(os.fstat(source), os.fstat(self.image.fd)):
            raise SetupError(f"{self.image.path} was replaced at this moment: try again")
        mount = syscalls.clone_tree(source, recursive=False, name=self.image.path)
        os.close(source)
        syscalls.set_attributes(
            mount,
            syscalls.MOUNT_ATTR_RDONLY | _NOSUID_NODEV,
            recursive=False,
            propagation=syscalls.MS_PRIVATE,
            name=self.image.path,
        )
        _attach_at(mount, self.place)


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
        layer = syscalls.make_filesystem(self.fstype, (("mode", "0755"),), _NOSUID_NODEV)
        _attach_at(layer, self.place)
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
            _NOSUID_NODEV,
        )
        # The covered tmpfs is still what the path means, so the overlay goes on top of it.
        _attach_at(mount, self.place, keep=True)
        return Udi(self.place, mount)


class MakeDirectory:
    """Make a directory that the site relies on, whatever the image has in its place."""

    def __init__(self, path: str, mode: int = 0o755) -> None:
        self.path = path
        self.mode = mode

    def __str__(self) -> str:
        return f"make directory {self.path} ({self.mode:04o})"

    def execute(self, udi: Udi) -> None:
        os.close(udi.replace_directory(self.path, self.mode))


class WriteFile:
    """Put a file of the site's in place of the image's."""

    def __init__(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.path = path
        self.content = content
        self.mode = mode

    def __str__(self) -> str:
        return f"write {self.path} ({len(self.content)} bytes, {self.mode:04o})"

    def execute(self, udi: Udi) -> None:
        udi.write_file(self.path, self.content, self.mode)


class WriteLink:
    """Put a symbolic link of the site's in place of what the image has."""

    def __init__(self, path: str, target: str) -> None:
        self.path = path
        self.target = target

    def __str__(self) -> str:
        return f"link {self.path} -> {self.target}"

    def execute(self, udi: Udi) -> None:
        udi.write_link(self.path, self.target)


class BindSite:
    """Make something of the node's visible in the container, as the administrator configured it."""

    def __init__(
        self,
        source: str,
        target: str,
        *,
        read_only: bool = False,
        recursive: bool = False,
        devices: bool = False,
        executable: bool = True,
        through_links: bool = True,
        propagation: str = "private",
    ) -> None:
        self.source = source
        self.target = target
        self.recursive = recursive
        self.through_links = through_links
        self.propagation = propagation
        self.attributes = syscalls.MOUNT_ATTR_NOSUID
        if read_only:
            self.attributes |= syscalls.MOUNT_ATTR_RDONLY
        if not devices:
            self.attributes |= syscalls.MOUNT_ATTR_NODEV
        if not executable:
            self.attributes |= syscalls.MOUNT_ATTR_NOEXEC

    def __str__(self) -> str:
        flags = [_restrictions(self.attributes), self.propagation]
        if self.recursive:
            flags.insert(0, "rec")
        return f"bind {self.source} on {self.target} ({','.join(flags)})"

    def execute(self, udi: Udi) -> None:
        source = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        mount = syscalls.clone_tree(source, recursive=self.recursive, name=self.source)
        os.close(source)
        syscalls.set_attributes(
            mount,
            self.attributes,
            recursive=True,
            propagation=_PROPAGATION[self.propagation],
            name=self.source,
        )
        if not self.through_links:
            udi.remove_link(self.target)
        if is_directory:
            target = udi.replace_directory(self.target)
        else:
            target = udi.open_target(self.target, is_directory=False)
        syscalls.attach(mount, target, self.target)
        os.close(target)
        os.close(mount)


class BindVolume:
    """Make a directory or file visible where the user wants it.

    Both are paths in the container, opened once with the user's rights; only what is missing of
    the target is made by root. The target is judged by where it really is, after every symbolic
    link of the image.
    """

    def __init__(
        self, source: str, target: str, user: identity.Identity, *, read_only: bool
    ) -> None:
        self.source = source
        self.target = target
        self.user = user
        self.attributes = _NOSUID_NODEV | (syscalls.MOUNT_ATTR_RDONLY if read_only else 0)

    def __str__(self) -> str:
        flags = _restrictions(self.attributes)
        return f"bind {self.source} on {self.target} as {self.user.name} ({flags})"

    def execute(self, udi: Udi) -> None:
        source = self._open_source(udi)
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        mount = syscalls.clone_tree(source, recursive=True, name=self.source)
        os.close(source)
        syscalls.set_attributes(
            mount,
            self.attributes,
            recursive=True,
            propagation=syscalls.MS_PRIVATE,
            name=self.source,
        )
        target = self._open_target(udi, is_directory=is_directory)
        check_target(udi.place_of(target))
        syscalls.attach(mount, target, self.target)
        os.close(target)
        os.close(mount)
        _require_few_mounts(udi)

    def _open_source(self, udi: Udi) -> int:
        try:
            return udi.open(self.source, user=self.user)
        except FileNotFoundError:
            raise VolumeError(
                f"volume source {self.source!r} does not exist in the container: a volume's source "
                "is a path as the container sees it, that is in the image or in what the site "
                "shares (siteFs)"
            ) from None
        except OSError as error:
            raise VolumeError(
                f"cannot use volume source {self.source!r}: {error.strerror}"
            ) from error

    def _open_target(self, udi: Udi, *, is_directory: bool) -> int:
        try:
            return udi.open_target(self.target, is_directory=is_directory, user=self.user)
        except OSError as error:
            raise VolumeError(
                f"cannot use volume target {self.target!r}: {error.strerror}"
            ) from error


class SealRoot:
    """Make the container's root read-only, by whichever volume it is reached, too.

    What else is mounted below keeps its own restrictions.
    """

    def __str__(self) -> str:
        return "make / read-only"

    def execute(self, udi: Udi) -> None:
        syscalls.remount_read_only(udi.place)


Operation = MakeDirectory | WriteFile | WriteLink | BindSite | BindVolume | SealRoot


def _attach_at(mount: int, place: str, *, keep: bool = False) -> None:
    os.makedirs(place, 0o755, exist_ok=True)
    target = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.attach(mount, target, place)
    os.close(target)
    if not keep:
        os.close(mount)


def _require_few_mounts(udi: Udi) -> None:
    """Refuse volumes that multiply the mounts.

    A volume brings along what is mounted below its source, so each can double what there is, and
    every mount on the node waits while the kernel copies a hundred thousand (fs.mount-max).
    """
    fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mounts = trust.read_all(fd, "/proc/self/mountinfo")
    finally:
        os.close(fd)
    place = udi.place.replace(" ", "\\040")  # as the kernel writes it
    if mounts.count(os.fsencode(f" {place}/")) > _MOST_MOUNTS:
        raise VolumeError(
            f"the volumes make more than {_MOST_MOUNTS} mounts: name smaller trees, or fewer"
        )


def _restrictions(attributes: int) -> str:
    words = [
        word
        for bit, word in (
            (syscalls.MOUNT_ATTR_NOSUID, "nosuid"),
            (syscalls.MOUNT_ATTR_NODEV, "nodev"),
            (syscalls.MOUNT_ATTR_NOEXEC, "noexec"),
        )
        if attributes & bit
    ]
    return ",".join(["ro" if attributes & syscalls.MOUNT_ATTR_RDONLY else "rw", *words])
