# SPDX-License-Identifier: BSD-3-Clause
"""The part of a plan that hooks and modules make; most launches have neither. Acts on nothing."""

from __future__ import annotations

from shifter_runtime import plan
from shifter_runtime.operations.hook import RunHook
from shifter_runtime.operations.module import BindContents, BindModule
from shifter_runtime.operations.tree import MakeDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity
    from shifter_runtime.modules import Module
    from shifter_runtime.operations import Operation
    from shifter_runtime.request import Request

# What a script of root has always found in its directory, whatever the image holds.
_DIRECTORIES = ("/etc", "/opt/udiImage/modules", "/tmp", "/var/run", "/var/spool", "/var/tmp")


def before_site(config: RuntimeConfig, modules: list[Module]) -> list[Operation]:
    hook = config.site_pre_mount_hook
    has_hooks = hook or config.site_post_mount_hook or any(module.root_hook for module in modules)
    operations: list[Operation] = []
    if has_hooks:
        operations += map(MakeDirectory, _DIRECTORIES)
    if hook:
        operations.append(RunHook("sitePreMountHook", hook, config.hook_timeout))
    return operations


def after_site(
    config: RuntimeConfig, request: Request, user: Identity, modules: list[Module]
) -> list[Operation]:
    """The site's second script, then the directories of the modules, in the modules' order."""
    operations: list[Operation] = []
    if config.site_post_mount_hook:
        operations.append(
            RunHook("sitePostMountHook", config.site_post_mount_hook, config.hook_timeout)
        )
    return operations + [
        plan.bind_site(volume, config, user, key=f"module_{module.name}_siteFs")
        for module in modules
        for volume in module.site_fs
        if volume.target not in request.no_mounts
    ]


def udi_image(config: RuntimeConfig, modules: list[Module]) -> list[Operation]:
    """What the site and the modules have in /opt/udiImage, side by side."""
    operations: list[Operation] = [MakeDirectory("/opt/udiImage")]
    if config.opt_udi_image:
        operations.append(BindContents(config.opt_udi_image))
    operations += [
        BindModule(module.name, module.copy_path) for module in modules if module.copy_path
    ]
    return operations


def root_hooks(config: RuntimeConfig, modules: list[Module]) -> list[Operation]:
    return [
        RunHook(f"module_{module.name}_roothook", module.root_hook, config.hook_timeout)
        for module in modules
        if module.root_hook
    ]
