# SPDX-License-Identifier: BSD-3-Clause
"""What root will do for one launch: a list made of request and configuration. Acts on nothing."""

from __future__ import annotations

from shifter_runtime import etc_files, udi_config, volumes
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import Identity
from shifter_runtime.image import Image
from shifter_runtime.node import NodeFiles, User
from shifter_runtime.operations.root import BindImage, BindLocal, MountImage, MountRoot, SealRoot
from shifter_runtime.operations.tree import (
    BindSite,
    DenyDevices,
    MakeDirectory,
    WriteFile,
    WriteLink,
)
from shifter_runtime.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.modules import Module
    from shifter_runtime.operations import Operation
    from shifter_runtime.volumes import TmpfsSpec, Volume

# Directories of the node that every container has, unless siteFs puts others there.
NODE_DIRECTORIES = ("/tmp", "/var/tmp")
_MOST_CACHES = 16  # of a user's in one container: each takes one of the node's loop devices


class Plan:
    """The image, the root made of it, and everything that is then done to that root, in order."""

    __slots__ = ("image", "operations", "root")

    def __init__(
        self, image: MountImage | BindImage, root: MountRoot, operations: list[Operation]
    ) -> None:
        self.image = image
        self.root = root
        self.operations = operations

    def __str__(self) -> str:
        return "\n".join(map(str, (self.image, self.root, *self.operations)))


def make(
    image: Image,
    request: Request,
    config: RuntimeConfig,
    user: Identity,
    files: NodeFiles,
    imported: list[User],
    modules: list[Module],
    hosts: bytes = b"",
) -> Plan:
    """Turn one request into a plan.

    `imported` are the accounts of usersToImport, `modules` the active ones, `hosts` the nodes of
    a job, a line for each task.
    """
    description = udi_config.describe(image, request, user, modules)
    before_site, after_site, last_hooks = _hooks_and_modules(config, request, user, modules)
    operations: list[Operation] = [
        *before_site,
        *_site_directories(config, request.no_mounts, user),
        *after_site,
        *_etc(files, config, user, imported),
        *([WriteFile("/var/hostsfile", hosts)] if hosts else []),
        *_udi_image(config, modules),
        *last_hooks,
        *_kernel_directories(),
        *_user_mounts(request, config, user),
        WriteFile("/var/shifterConfig.json", _bytes(description)),
    ]
    if not config.mount_udi_root_writable and request.writable is None:
        operations.append(SealRoot())
    return Plan(
        _image(image, config, user),
        _root(image, request, config, user),
        operations,
    )


def _image(image: Image, config: RuntimeConfig, user: Identity) -> MountImage | BindImage:
    if image.is_local:
        return BindLocal(image, config.loop_mount, user)
    if image.is_directory:
        return BindImage(image, config.loop_mount)
    return MountImage(image, config.loop_mount, config.image_read_ahead)


def _root(image: Image, request: Request, config: RuntimeConfig, user: Identity) -> MountRoot:
    if request.writable is None:
        return MountRoot(config.loop_mount, config.udi_mount, config.rootfs_type)
    from shifter_runtime.operations.writable import MountWritableRoot  # here: few ask for it

    return MountWritableRoot(
        config.loop_mount, config.udi_mount, user, request.writable, lend=not image.is_local
    )


def _site_directories(
    config: RuntimeConfig, left_out: list[str], user: Identity
) -> list[Operation]:
    site = [volume for text in config.site_fs for volume in volumes.parse_site(text)]
    taken = {volume.target for volume in site}
    site[:0] = [volumes.Volume(path, path) for path in NODE_DIRECTORIES if path not in taken]
    return [bind_site(volume, config, user) for volume in site if volume.target not in left_out]


def bind_site(
    volume: Volume, config: RuntimeConfig, user: Identity, *, key: str = "siteFs"
) -> Operation:
    """What mounts a volume of the site's; `key` of udiRoot.conf names it."""
    if volume.cache is not None:
        return _cache(volume, config, user, by_site=True)
    return BindSite(
        volume.source,
        volume.target,
        read_only=volume.read_only,
        recursive=volume.recursive,
        propagation=volume.propagation or config.mount_propagation_style,
        key=key,
    )


def _hooks_and_modules(
    config: RuntimeConfig, request: Request, user: Identity, modules: list[Module]
) -> tuple[list[Operation], list[Operation], list[Operation]]:
    """What is done before the site's directories are mounted, after them, and after /etc."""
    if not (modules or config.site_pre_mount_hook or config.site_post_mount_hook):
        return [], [], []
    from shifter_runtime import plan_site  # here: few launches have hooks or modules

    return (
        plan_site.before_site(config, modules),
        plan_site.after_site(config, request, user, modules),
        plan_site.root_hooks(config, modules),
    )


def _kernel_directories() -> list[Operation]:
    """Bound, not mounted anew, so that the node's own restrictions (hidepid, say) hold inside.

    Never where a link of the image leads: there, a volume could cover them.
    """
    return [
        BindSite("/proc", "/proc", recursive=True, executable=False, through_links=False),
        BindSite("/sys", "/sys", recursive=True, executable=False, through_links=False),
        BindSite("/dev", "/dev", recursive=True, devices=True, through_links=False),
        DenyDevices("/dev/shm", "/dev/mqueue", "/dev/hugepages"),
    ]


def _etc(
    files: NodeFiles, config: RuntimeConfig, user: Identity, imported: list[User]
) -> list[Operation]:
    texts = {name: content for name, content in files.own.items()}
    texts["nsswitch.conf"] = etc_files.NSSWITCH_CONF.encode()
    texts["host.conf"] = etc_files.HOST_CONF.encode()
    texts["shadow"] = b""
    texts.update(files.site)
    accounts: list[Identity | User] = [user, *imported]
    texts["passwd"] = _bytes(etc_files.add_to_passwd(_text(files, "passwd"), accounts))
    texts["group"] = _bytes(
        etc_files.add_to_group(
            _text(files, "group"), user.name, user.group_names, config.max_group_count
        )
    )
    return [
        *(WriteFile(f"/etc/{name}", content) for name, content in sorted(texts.items())),
        WriteLink("/etc/mtab", "/proc/mounts"),
    ]


def _text(files: NodeFiles, name: str) -> str:
    return files.site.get(name, b"").decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _udi_image(config: RuntimeConfig, modules: list[Module]) -> list[Operation]:
    if any(module.copy_path for module in modules):
        from shifter_runtime import plan_site  # here: few launches have modules

        return plan_site.udi_image(config, modules)
    if not config.opt_udi_image:
        return [MakeDirectory("/opt/udiImage")]
    return [BindSite(config.opt_udi_image, "/opt/udiImage", read_only=True, key="optUdiImage")]


def _user_mounts(request: Request, config: RuntimeConfig, user: Identity) -> list[Operation]:
    """Volumes in the order they were given, since each may start in another one.

    An empty filesystem comes after them, unless a volume is to lie within it.
    """
    mounts = _user_volumes(request, config, user)
    if not request.tmpfs:
        return mounts
    from shifter_runtime.operations.tmpfs import MountTmpfs  # here: few ask for it

    targets = [volume.target for volume in request.volumes]
    below: list[Operation] = []
    for spec in sorted(request.tmpfs, key=_target_of):
        volumes.check_target(spec.target)
        holds_volume = any(volumes.is_within(target, spec.target) for target in targets)
        (below if holds_volume else mounts).append(MountTmpfs(spec.target, user, spec.size))
    return below + mounts


def _target_of(spec: TmpfsSpec) -> str:
    return spec.target


def _user_volumes(request: Request, config: RuntimeConfig, user: Identity) -> list[Operation]:
    binds: list[Operation] = []
    if not request.volumes:
        return binds
    if sum(volume.cache is not None for volume in request.volumes) > _MOST_CACHES:
        raise VolumeError(f"more than {_MOST_CACHES} perNodeCache volumes: ask for fewer")
    from shifter_runtime.operations.volume import BindVolume  # here: most launches have none

    for volume in request.volumes:
        if volume.cache is not None:
            binds.append(_cache(volume, config, user, by_site=False))
        else:
            binds.append(BindVolume(volume.source, volume.target, user, read_only=volume.read_only))
    return binds


def _cache(volume: Volume, config: RuntimeConfig, user: Identity, *, by_site: bool) -> Operation:
    from shifter_runtime.operations import cache  # here: few launches have one

    return cache.for_volume(volume, config, user, by_site=by_site)
