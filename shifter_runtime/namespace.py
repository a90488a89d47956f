# SPDX-License-Identifier: BSD-3-Clause
"""Execute a plan in a mount namespace of this process's own, and move into the result.

Nothing that is mounted here is seen by anybody else, and all of it vanishes with the last process
inside, however that dies.
"""

from __future__ import annotations

import errno
import os
import sys

from shifter_runtime import syscalls
from shifter_runtime.errors import SetupError
from shifter_runtime.identity import CountedAs, Identity
from shifter_runtime.image import MOUNTABLE
from shifter_runtime.plan import Plan
from shifter_runtime.udi import Udi


def enter(plan: Plan, user: Identity) -> None:
    """Build what `plan` says, seen by nobody else, and make it this process's root."""
    with CountedAs(user):
        take_own()
    udi = build(plan)
    sys.meta_path.clear()  # whatever was imported from here on would come out of the image
    change_root(udi)


def take_own() -> None:
    """Leave the node's mount namespace for a copy of it."""
    try:
        syscalls.unshare_mounts()
        # Nothing that is mounted here may reach the node; what siteFs binds as slave still hears
        # of what the node mounts later.
        syscalls.change_propagation("/", syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        raise SetupError(f"cannot take a mount namespace: {_reason(error)}") from error


def build(plan: Plan) -> Udi:
    """Execute `plan` in the mount namespace that this process is in."""
    doing: object = plan.image
    try:
        plan.image.execute()
        doing = plan.root
        udi = plan.root.execute()
        for operation in plan.operations:
            doing = operation
            operation.execute(udi)
    except OSError as error:
        raise SetupError(f"cannot {doing}: {_reason(error)}") from error
    return udi


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC and error.filename == syscalls.MOUNT_NAMESPACE:
        return "you hold as many already as the kernel lets one user have: end some of them"
    if error.errno == errno.ENOSYS:
        return "this node's kernel is too old: Linux 5.12 or newer is needed"
    if error.errno == errno.ENODEV:  # what fsopen(2) says of a filesystem that it does not know
        return f"this node's kernel has no {error.filename}: its module is missing"
    if error.errno == errno.EINVAL and error.filename in MOUNTABLE:
        return f"the file is damaged, or no {error.filename} that this kernel can read"
    return f"{error.strerror} ({error.filename})" if error.filename else str(error.strerror)


def change_root(udi: Udi) -> None:
    """Make the container the root of this mount namespace and of this process."""
    try:
        _pivot(udi)
    except OSError as error:
        raise SetupError(f"cannot change root: {_reason(error)}") from error


def _pivot(udi: Udi) -> None:
    os.fchdir(udi.root)
    try:
        # Old and new root at one place: the old one then lies on top and is let go (pivot_root(2),
        # NOTES). Unlike after chroot(2), no mount of the node is left to be found.
        syscalls.pivot_root(".", ".")
        syscalls.detach(".")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The node runs from its initramfs, which cannot be pivoted.
        syscalls.move_onto_root()
        os.chroot(".")
    os.chdir("/")
    os.close(udi.root)
