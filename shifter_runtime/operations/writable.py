# SPDX-License-Identifier: BSD-3-Clause
"""A root of the container that its user may change as if all of the image were his."""

from __future__ import annotations

import errno
import os

from shifter_runtime import id_mapping, identity, syscalls
from shifter_runtime.identity import Identity
from shifter_runtime.operations.root import MountRoot, attach_at
from shifter_runtime.operations.tmpfs import size_option
from shifter_runtime.udi import Udi

# What a kernel answers that cannot do it: no user namespaces, a filesystem that cannot show files
# as another's (EINVAL), or an overlay that takes no such filesystem (before Linux 5.19: EINVAL).
_UNABLE = (errno.EINVAL, errno.ENOSPC, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
_COMPLAINT = (
    "shifter: --writable: this node's kernel cannot lend you the files of the image: you may "
    "write only where their permissions let you\n"
)


class MountWritableRoot(MountRoot):
    """Mount the container's root with the image's files lent to the user, until the container ends.

    The image is mounted a second time, over itself, with its owner shown as the user. What is
    changed goes into the writable layer only, which holds `size` bytes; 0 is the kernel's own
    limit, half of the node's memory.
    """

    def __init__(
        self, image_place: str, place: str, user: Identity, size: int, *, lend: bool
    ) -> None:
        super().__init__(image_place, place, "tmpfs")
        self.user = user
        self.size = size
        self.lend = lend

    def __str__(self) -> str:
        size = f"size={self.size}," if self.size else ""
        return (
            f"mount overlay of {self.image_place} and tmpfs on {self.place} for {self.user.name} "
            f"({size}rw,nosuid,nodev)"
        )

    def execute(self) -> Udi:
        if not self.lend:
            return self._mount()
        try:
            self._lend_image()
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            return self._mount_as_it_is()
        try:
            return self._mount()
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        syscalls.detach(self.place)
        syscalls.detach(self.image_place)
        return self._mount_as_it_is()

    def _mount_as_it_is(self) -> Udi:
        identity.write(2, _COMPLAINT.encode())
        return self._mount()

    def _mount(self) -> Udi:
        udi = super().execute()
        udi.give(udi.root, self.user)
        os.chown(self.place, self.user.uid, self.user.gid)
        return udi

    def _layer_options(self) -> tuple[tuple[str, str | None], ...]:
        return (*super()._layer_options(), *size_option(self.size or None, "--writable"))

    def _lend_image(self) -> None:
        """Cover the image with a second mount of itself, whose files are the user's."""
        image = os.open(self.image_place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.fstat(image)
            mount = syscalls.clone_tree(image, recursive=False, name=self.image_place)
        finally:
            os.close(image)
        try:
            namespace = id_mapping.open_namespace(
                (found.st_uid, found.st_gid), (self.user.uid, self.user.gid)
            )
            try:
                syscalls.map_owners(mount, namespace, self.image_place)
            finally:
                os.close(namespace)
            attach_at(mount, self.image_place, keep=True)
        finally:
            os.close(mount)
