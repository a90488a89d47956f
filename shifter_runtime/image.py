# SPDX-License-Identifier: BSD-3-Clause
"""The image that a launch uses: its two files, who may read it."""

from __future__ import annotations

import os
import stat

from shifter_common.errors import InvalidMetadataError
from shifter_common.metadata import ImageMetadata
from shifter_runtime import identity, node, syscalls, trust
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import (
    MissingImageError,
    NotPermittedError,
    SetupError,
    UntrustedPathError,
)

MOUNTABLE = ("squashfs", "ext4", "xfs")
DIRECTORY = "VFS"  # the format of an image that is a plain directory

# Filesystems of which a node has the modes and POSIX access lists, by f_type of statfs(2).
_HELD_TO_MODES = {
    *(0xEF53, 0x58465342, 0x9123683E, 0xF2F52010),  # ext2 to ext4, xfs, btrfs, f2fs
    *(0x01021994, 0x858458F6, 0x794C7630),  # tmpfs, ramfs, overlay
    *(0x73717368, 0xE0F5E1E2),  # squashfs, erofs
    0x0BD00BD0,  # Lustre
}

_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_KINDS = {stat.S_IFREG: "regular file", stat.S_IFDIR: "directory"}


class Image:
    """An image as it lies on this node's filesystem: `fd` is open on its file or directory.

    One that `is_local` is a directory that the user named: only his own rights lead to it.
    """

    __slots__ = ("fd", "image_id", "is_local", "metadata", "path")

    def __init__(
        self, image_id: str, path: str, fd: int, metadata: ImageMetadata, *, is_local: bool = False
    ) -> None:
        self.is_local = is_local
        self.image_id = image_id
        self.path = path
        self.fd = fd
        self.metadata = metadata

    @property
    def is_directory(self) -> bool:
        return self.metadata.format == DIRECTORY

    @property
    def is_public(self) -> bool:
        """Whether everybody may read it: it has no access lists."""
        return self.metadata.user_acl is None and self.metadata.group_acl is None

    def require_readable_by(self, user: identity.Identity) -> None:
        """Hold the access lists of the image; without any, everybody may read it."""
        if self.is_public:
            return
        uids, gids = self.metadata.user_acl, self.metadata.group_acl
        if user.uid in (uids or ()) or not set(user.groups).isdisjoint(gids or ()):
            return
        raise NotPermittedError(
            f"permission denied to image {self.image_id}: neither you ({user.name}) nor any of "
            "your groups is in its access list; ask whoever pulled it"
        )


def open_image(
    image_id: str, config: RuntimeConfig, user: identity.Identity | None = None
) -> Image:
    """Open both files of an image, and check on the descriptors that root may rely on them.

    An absolute path in the place of an id is a directory that `user` wants for an image.
    """
    if user is not None and image_id.startswith("/"):
        return _open_local_image(image_id, user)
    directory = open_image_path(config)
    try:
        owners = trusted_owners(directory, config)
        if user is not None and user.uid not in owners:
            _require_out_of_reach(directory, user, config)
        metadata = _read_metadata(directory, image_id, owners, config)
        if metadata.format not in (*MOUNTABLE, DIRECTORY):
            raise SetupError(
                f"image {image_id} has format {metadata.format}, which cannot be mounted: "
                f"formats that can are {', '.join((*MOUNTABLE, DIRECTORY))}"
            )
        name = f"{image_id}.{metadata.format}"
        kind = stat.S_IFDIR if metadata.format == DIRECTORY else stat.S_IFREG
        fd = _open_trusted(directory, name, owners, config, kind)
        return Image(image_id, f"{config.image_path}/{name}", fd, metadata)
    finally:
        os.close(directory)


def _open_local_image(path: str, user: identity.Identity) -> Image:
    """A directory of the node's as an image: no metadata, and nobody's access list.

    Root then reads it for the user, through an overlay that holds him to modes and to POSIX
    access lists. So it must lie on a filesystem that has no other rules.
    """
    fd = open_local(path, user)
    if syscalls.filesystem_magic(fd, path) not in _HELD_TO_MODES:
        os.close(fd)
        raise SetupError(
            f"cannot use {path!r} as an image: what may be read there is not decided by the modes "
            "of files on this node alone (it is a network filesystem, FUSE, or the kernel's own): "
            "copy it to a disk of the node, or pull it as an image"
        )
    return Image(path, path, fd, ImageMetadata(format=DIRECTORY), is_local=True)


def open_local(path: str, user: identity.Identity) -> int:
    """A descriptor of a directory that the user may list and enter.

    Symbolic links are his to follow, but not those of /proc that lead to what root has open.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
    try:
        with identity.AsUser(user):
            # The last dot asks for the right to enter.
            return syscalls.open_in(
                syscalls.AT_FDCWD, path + "/.", flags, syscalls.RESOLVE_NO_MAGICLINKS
            )
    except OSError as error:
        raise SetupError(f"cannot use {path!r} as an image: {error.strerror}") from error


def open_image_path(config: RuntimeConfig) -> int:
    try:
        return os.open(config.image_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SetupError(f"cannot open imagePath {config.image_path}: {error.strerror}") from error


def trusted_owners(directory: int, config: RuntimeConfig) -> set[int]:
    """Whose files the kernel may mount: root's, imageOwners', and those of imagePath's owner.

    A filesystem image is parsed by the kernel, so one that a user wrote must never be mounted
    (CVE-2023-30549 and its like).
    """
    found = os.fstat(directory)
    if found.st_mode & stat.S_IWOTH:
        raise UntrustedPathError(
            f"imagePath {config.image_path} is writable by everybody, so no image in it can be "
            "relied on: ask the administrator to correct its mode"
        )
    return {0, found.st_uid, *(_owner_id(owner, config) for owner in config.image_owners)}


def _require_out_of_reach(directory: int, user: identity.Identity, config: RuntimeConfig) -> None:
    """Refuse an imagePath in which the caller can give files of root's the names of images."""
    if not os.fstat(directory).st_mode & stat.S_IWGRP:  # the mask, too, of an access list
        return
    with identity.AsUser(user):
        in_reach = os.access(".", os.W_OK, dir_fd=directory, effective_ids=True)
    if in_reach:
        raise UntrustedPathError(
            f"imagePath {config.image_path} is writable by you, so no image in it can be relied "
            "on: ask the administrator to correct its mode"
        )


def _owner_id(owner: str, config: RuntimeConfig) -> int:
    if owner.isdecimal():
        return int(owner)
    account = node.Names(config).user(owner)
    if account is None:
        raise SetupError(f"imageOwners names {owner!r}, who is unknown on this node")
    return account.uid


def _read_metadata(
    directory: int, image_id: str, owners: set[int], config: RuntimeConfig
) -> ImageMetadata:
    name = image_id + ".meta"
    fd = _open_trusted(directory, name, owners, config)
    try:
        text = trust.read_all(fd, f"{config.image_path}/{name}").decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)
    try:
        return ImageMetadata.parse(text)
    except InvalidMetadataError as error:
        raise SetupError(
            f"cannot use {config.image_path}/{name}: {error}; pull the image again"
        ) from error


def _open_trusted(
    directory: int, name: str, owners: set[int], config: RuntimeConfig, kind: int = stat.S_IFREG
) -> int:
    path = f"{config.image_path}/{name}"
    try:
        fd = open_in_image_path(directory, name, owners)
    except FileNotFoundError:
        raise MissingImageError(
            f"cannot find requested image: {path} does not exist; pull the image again"
        ) from None
    except OSError as error:
        raise SetupError(f"cannot open {path}: {error.strerror}") from error
    require_trusted(fd, path, owners, kind)
    return fd


def open_in_image_path(directory: int, name: str, owners: set[int]) -> int:
    """Open what the gateway has put into a directory; as its owner, where root may not."""
    flags = os.O_RDONLY | os.O_NONBLOCK
    try:
        return syscalls.open_in(directory, name, flags, _RESOLVE)
    except PermissionError:
        owner = os.fstat(directory).st_uid
        if owner not in owners - {0}:
            raise
    with identity.AsOwner(owner):
        return syscalls.open_in(directory, name, flags, _RESOLVE)


def require_trusted(fd: int, path: str, owners: set[int], kind: int) -> None:
    """Close `fd` and complain, unless it is of that kind and nobody but `owners` can change it."""
    found = os.fstat(fd)
    if stat.S_IFMT(found.st_mode) != kind:
        problem = f"is not a {_KINDS[kind]}"
    elif found.st_uid not in owners:
        problem = f"belongs to user {found.st_uid}, who does not write images here (imageOwners)"
    elif found.st_mode & 0o022:
        problem = f"is writable by others (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    os.close(fd)
    raise UntrustedPathError(f"{path} {problem}: ask the administrator to correct it")
