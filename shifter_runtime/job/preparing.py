# SPDX-License-Identifier: BSD-3-Clause
"""Build a container that outlives its builder.

It is built in a mount namespace of this process's own, which ends with the process: until the last
step nothing on the node has changed, whatever fails and however this is killed. Then the finished
namespace is kept below STATE_DIRECTORY. The container of the whole node, and that of a job where it
is wanted, is also shown on udiMount, as prologs and the batch system's plugin expect; its mounts
there replicate to no other namespace.
"""

from __future__ import annotations

import os
import sys

from shifter_common.errors import InvalidMetadataError
from shifter_runtime import namespace, syscalls
from shifter_runtime.errors import SetupError
from shifter_runtime.job import mounts, removal, showing, state
from shifter_runtime.job.caller import say
from shifter_runtime.job.joining import NODE, called
from shifter_runtime.job.record import Record, device_at, own_processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_common.metadata import ImageMetadata
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity
    from shifter_runtime.operations.closed_root import CloseRoot
    from shifter_runtime.plan import Plan

_OWN_NAMESPACE = "/proc/self/ns/mnt"
_NUMBERS_IN_STOCK = 1 << 13  # twice of what each processor has


class AlreadyPreparedError(SetupError):
    """There is a container under that name, and launches may be in it."""


class Container:
    """What is to be prepared: `name` is a job's id or NODE, the rest is as in its Record.

    `closing` is the operation that makes it fit to be shown on the node, where that is wanted.
    """

    def __init__(
        self,
        name: str,
        user: Identity,
        *,
        description: str,
        metadata: ImageMetadata,
        request: str = "",
        closing: CloseRoot | None = None,
        has_sshd: bool = False,
    ) -> None:
        self.name = name
        self.user = user
        self.description = description
        self.metadata = metadata
        self.request = request
        self.closing = closing
        self.has_sshd = has_sshd


class _Built:
    """The finished namespace, and descriptors of what is in it."""

    def __init__(self) -> None:
        self.namespace = -1
        self.tree = -1  # a detached copy of all its mounts
        self.device = 0


def prepare(container: Container, plan: Plan, config: RuntimeConfig) -> None:
    """Build it, keep it, and tell launches; all or nothing."""
    with state.Lock(container.name):
        _require_free(container.name, config)
        built = _build(plan)
        # Half of what follows would be worse than none or all, and it takes a millisecond.
        for number in (syscalls.SIGHUP, syscalls.SIGINT, syscalls.SIGTERM):
            syscalls.ignore_signal(number)
        try:
            _keep(container, built, config)
        except BaseException:
            removal.remove(container.name, config)
            raise


def _require_free(name: str, config: RuntimeConfig) -> None:
    """Refuse where a container is; clean up where somebody was killed with half of one."""
    record = state.read_record(name)
    is_shown = name != NODE or (record and device_at(config.udi_mount) == record.device)
    if record and is_shown:
        raise AlreadyPreparedError(
            f"there is a container for {called(name)} already, prepared for user {record.user}: "
            "run unsetupRoot first"
        )
    if state.exists(name):
        removal.remove(name, config)
    if name == NODE:
        _require_nothing_shown(config)


def _require_nothing_shown(config: RuntimeConfig) -> None:
    owner = showing.owner(config)
    if owner is not None:
        raise SetupError(
            f"the container for {called(owner)} is shown on {config.udi_mount}: "
            f"run unsetupRoot --job {owner} first, or give --job"
        )
    for place in (config.udi_mount, config.loop_mount):
        if mounts.below(place):
            raise SetupError(
                f"something is mounted on {place} that this release did not mount: "
                "unsetupRoot unmounts it"
            )


def _build(plan: Plan) -> _Built:
    built = _Built()
    node = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    _take_younger_namespace(node)
    try:
        udi = namespace.build(plan)
        built.device = os.fstat(udi.root).st_dev
        built.tree = syscalls.clone_tree(udi.root, recursive=True, name=udi.place)
        built.namespace = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        # From here until the node's namespace is back, nothing may be imported: the image would
        # be asked for it.
        namespace.change_root(udi)
    finally:
        syscalls.enter_mounts(node)
        os.close(node)
    return built


def _take_younger_namespace(node: int) -> None:
    """Leave the node's mount namespace for one that can be kept there.

    A namespace may hold only what counts as younger (the kernel's mnt_ns_loop()), by a number that
    each processor gives from a stock of its own since Linux 6.18. So another processor's may do;
    and where none does, this one's stock comes to an end, too.
    """
    age = _age(node)
    allowed = os.sched_getaffinity(0)
    namespace.take_own()
    try:
        for processor in sorted(allowed):
            if _own_age() > age:
                return
            os.sched_setaffinity(0, {processor})
            namespace.take_own()
    finally:
        os.sched_setaffinity(0, allowed)
    for _ in range(_NUMBERS_IN_STOCK):
        if _own_age() > age:
            return
        namespace.take_own()
    raise SetupError("the kernel gives no mount namespace that this node's could keep: try again")


def _own_age() -> int:
    fd = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _age(fd) or 1  # where the kernel does not tell, each is younger than all before
    finally:
        os.close(fd)


def _age(fd: int) -> int:
    """The kernel's number of a mount namespace, 0 where it does not tell (before Linux 6.8)."""
    try:
        _, number = syscalls.control(fd, syscalls.NS_GET_MNTNS_ID, bytes(8), "mount namespace")
    except OSError:
        return 0
    return int.from_bytes(number, sys.byteorder)


def _keep(container: Container, built: _Built, config: RuntimeConfig) -> None:
    with state.Lock():
        directory = state.make(container.name)
    state.keep_namespace(container.name, built.namespace)
    if container.closing is not None and container.closing.is_closed:
        _show(container, built, config)
    os.close(built.tree)
    if container.has_sshd:
        _start_sshd(built.namespace, container, config, directory)
    record = Record(
        uid=container.user.uid,
        user=container.user.name,
        namespace=os.fstat(built.namespace).st_ino,
        processes=own_processes(),
        device=built.device if container.name == NODE else 0,
        request=container.request,
        description=container.description,
        metadata=_text(container.metadata),
    )
    state.write_record(container.name, record)


def _show(container: Container, built: _Built, config: RuntimeConfig) -> None:
    """For a node without jobs it is the point of all this; a job goes on without."""
    if container.name == NODE:
        if not showing.show(NODE, built.tree, built.device, config):
            raise SetupError(f"something was mounted on {config.udi_mount} at this moment")
        return
    try:
        showing.show(container.name, built.tree, built.device, config)
    except OSError as error:
        showing.hide(container.name)
        say("setupRoot", f"cannot show the container on {config.udi_mount}: {error.strerror}")


def _start_sshd(
    namespace_fd: int, container: Container, config: RuntimeConfig, directory: str
) -> None:
    """A job whose nodes cannot be reached by ssh is still a job: it is told, and goes on."""
    from shifter_runtime.job import sshd

    try:
        sshd.start(namespace_fd, container.user, config, directory)
    except (SetupError, OSError) as error:
        say("setupRoot", f"{error}; the job goes on without")


def _text(metadata: ImageMetadata) -> str:
    """For launches that join when the image has expired; empty where it cannot be written."""
    try:
        return metadata.to_text()
    except InvalidMetadataError:
        return ""
