# SPDX-License-Identifier: BSD-3-Clause
"""udiRoot.conf: what a site decides about the runtime, and how clients find the gateway.

`KEYS` is the whole configuration reference: each key with the attribute it sets, how its text is
read, its default and what it means.
"""

from __future__ import annotations

from shifter_common import keyvalue
from shifter_runtime.errors import ConfigError
from shifter_runtime.volumes import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MODULE_PREFIX = "module_"
_MODULE_KEYS = frozenset(
    (
        *("userhook", "roothook", "siteEnv", "siteEnvPrepend", "siteEnvAppend", "siteEnvUnset"),
        *("conflict", "siteFs", "copyPath", "enabled"),
    )
)
_DEPRECATED = frozenset(
    ("autoLoadKernelModule", "kmodBasePath", "kmodCacheFile", "optionalSshdAsRoot")
)


class RuntimeConfig:
    """What udiRoot.conf says. Every key of the original is read and checked, used or not."""

    path: str
    warnings: list[str]  # what is odd in the file but does not keep it from being used
    modules: dict[str, dict[str, list[str]]]  # name -> last part of the key -> texts, in order

    udi_mount: str
    loop_mount: str
    image_path: str
    udi_root_path: str
    opt_udi_image: str
    etc_path: str
    populate_etc_dynamically: bool
    allow_libc_pwd_calls: bool
    users_to_import: list[str]
    max_group_count: int
    site_fs: list[str]
    site_env: list[str]
    site_env_append: list[str]
    site_env_prepend: list[str]
    site_env_unset: list[str]
    site_pre_mount_hook: str
    site_post_mount_hook: str
    hook_timeout: float
    mount_udi_root_writable: bool
    mount_propagation_style: str
    rootfs_type: str
    allow_local_chroot: bool
    image_owners: list[str]
    per_node_cache_path: str
    per_node_cache_size_limit: int | None
    per_node_cache_allowed_fs_type: list[str]
    image_gateway: list[str]
    image_lookup: tuple[str, ...]
    gateway_timeout: float
    munge_socket: str
    system: str
    default_image_type: str
    default_modules: list[str]
    batch_type: str
    node_context_prefix: str
    mkfs_xfs_path: str
    dd_path: str
    cp_path: str
    mv_path: str
    chmod_path: str
    modprobe_path: str
    insmod_path: str


def load(path: str) -> RuntimeConfig:
    """Read the file at `path` for a program without privilege; root reads by `trust.read`."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            text = file.read()
    except FileNotFoundError as error:
        raise ConfigError(
            f"cannot read {path}: there is no such file; start from udiRoot.conf.example beside it"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return parse(text, path)


def parse(text: str, path: str) -> RuntimeConfig:
    """Understand the text of udiRoot.conf; `path` is what errors and warnings call it."""
    config = RuntimeConfig()
    config.path = path
    config.warnings = []
    config.modules = {}
    given: set[str] = set()
    for attribute, _, default, _ in KEYS.values():
        setattr(config, attribute, [] if default is _EMPTY_LIST else default)
    for entry in keyvalue.entries(text, "="):
        place = f"{path}: line {entry.line}"
        if entry.value is None:
            config.warnings.append(f"{place}: not of the form key = value, ignored: {entry.key!r}")
        elif entry.key in KEYS:
            _assign(config, entry.key, entry.value, place)
            given.add(entry.key)
        elif entry.key.startswith(_MODULE_PREFIX):
            _assign_module(config, entry.key, entry.value, place)
        else:
            config.warnings.append(f"{place}: {_unknown(entry.key)}")
    _require_complete(config)
    return config


def _assign(config: RuntimeConfig, key: str, text: str, place: str) -> None:
    """Set the attribute of `key`; list keys gather what all their lines say."""
    attribute, read, _, _ = KEYS[key]
    try:
        value = read(text)
    except ValueError as error:
        raise ConfigError(f"{place}: {key} must be {error}, not {text!r}") from None
    if isinstance(value, list):
        value = getattr(config, attribute) + value
    setattr(config, attribute, value)


def _assign_module(config: RuntimeConfig, key: str, text: str, place: str) -> None:
    name, _, part = key[len(_MODULE_PREFIX) :].partition("_")
    if not name or part not in _MODULE_KEYS:
        config.warnings.append(f"{place}: {_unknown(key)}")
        return
    config.modules.setdefault(name, {}).setdefault(part, []).append(text)


def _require_complete(config: RuntimeConfig) -> None:
    for key in ("udiMount", "loopMount", "imagePath", "udiRootPath"):
        if not getattr(config, KEYS[key][0]):
            raise ConfigError(f"{config.path}: {key} is not set: {KEYS[key][3]}")
    if not config.populate_etc_dynamically and not config.etc_path:
        raise ConfigError(
            f"{config.path}: etcPath is not set: give it, or set populateEtcDynamically = 1"
        )


def _unknown(key: str) -> str:
    if key in _DEPRECATED:
        return f"{key} is deprecated and ignored"
    from shifter_runtime.spelling import nearest_to  # here: few files hold an unknown key

    name, _, part = key[len(_MODULE_PREFIX) :].partition("_")
    if key.startswith(_MODULE_PREFIX) and "_" in part:
        return f"unknown key {key!r} ignored: the name of a module cannot hold '_'"
    if key.startswith(_MODULE_PREFIX) and part:
        nearest, start = nearest_to(part, _MODULE_KEYS), f"{_MODULE_PREFIX}{name}_"
    else:
        nearest, start = nearest_to(key, KEYS), ""
    hint = f", did you mean {start}{nearest}?" if nearest else ""
    return f"unknown key {key!r} ignored{hint}"


# How the text of a value is read. A ValueError says what it must be, to follow "KEY must be".


def _text(text: str) -> str:
    return text


def _directory(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError("an absolute path without '..'")
    return "/" + "/".join(part for part in text.split("/") if part not in ("", "."))


def _mount_point(text: str) -> str:
    path = _directory(text)
    if path == "/":
        raise ValueError("a directory other than /")
    return path


def _optional_path(text: str) -> str:
    return _directory(text) if text else ""


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError("a number")
    return int(text)


def _seconds(text: str) -> float:
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        raise ValueError("a number of seconds")
    return float(text)


def _size(text: str) -> int:
    size = parse_size(text)
    if size is None:
        raise ValueError("a size such as 512M or 1.5G")
    return size


def _words(text: str) -> list[str]:
    return text.split()


def _comma_words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _assignments(text: str) -> list[str]:
    for word in text.split():
        if word.find("=") < 1:
            raise ValueError("words of the form NAME=value")
    return text.split()


def _volumes(text: str) -> list[str]:
    return [text] if text else []  # `volumes.parse_site` reads the items of each line


def _lookup_order(text: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if words not in (("gateway", "index"), ("index", "gateway"), ("gateway",), ("index",)):
        raise ValueError("gateway, index, or both in either order")
    return words


def _propagation(text: str) -> str:
    if text not in ("private", "slave"):
        raise ValueError("private or slave")
    return text


def _memory_filesystem(text: str) -> str:
    if text not in ("tmpfs", "ramfs"):
        raise ValueError("tmpfs or ramfs")
    return text


if TYPE_CHECKING:
    _Value = str | bool | int | float | list[str] | tuple[str, ...] | None
    _Key = tuple[str, Callable[[str], _Value], _Value, str]

_EMPTY_LIST: list[str] = []  # a default of KEYS; each configuration gets its own

KEYS: dict[str, _Key] = {
    "udiMount": (
        *("udi_mount", _mount_point, ""),
        "the directory on which the user-defined image is mounted, for example /var/udiMount",
    ),
    "loopMount": (
        *("loop_mount", _mount_point, ""),
        "the directory on which image files are mounted, for example /var/loopMount",
    ),
    "imagePath": (
        *("image_path", _directory, ""),
        "the directory in which the gateway puts image files and their .meta files",
    ),
    "udiRootPath": (
        *("udi_root_path", _directory, ""),
        "the directory under which Shifter is installed (bin/shifterimg, sbin/setupRoot)",
    ),
    "optUdiImage": (
        *("opt_udi_image", _optional_path, ""),
        "a directory of the site whose content appears at /opt/udiImage in every container",
    ),
    "etcPath": (
        *("etc_path", _optional_path, ""),
        "the directory of passwd, group and nsswitch.conf for the container, unless made anew",
    ),
    "populateEtcDynamically": (
        *("populate_etc_dynamically", _flag, False),
        "1: make passwd and group for each run; 0: take them from etcPath",
    ),
    "allowLibcPwdCalls": (
        *("allow_libc_pwd_calls", _flag, False),
        "1: ask the node's name service who the user is; 0: read etcPath/passwd",
    ),
    "usersToImport": (
        *("users_to_import", _words, _EMPTY_LIST),
        "further users to list in the container's passwd, with populateEtcDynamically = 1",
    ),
    "maxGroupCount": (
        *("max_group_count", _number, 0),
        "in how many groups the container's group file lists the user; 0: in none",
    ),
    "siteFs": (
        *("site_fs", _volumes, _EMPTY_LIST),
        "directories of the node that every container sees: from[:to[:flags]], separated by ;",
    ),
    "siteEnv": (
        *("site_env", _assignments, _EMPTY_LIST),
        "variables set in every container: NAME=value, separated by spaces",
    ),
    "siteEnvAppend": (
        *("site_env_append", _assignments, _EMPTY_LIST),
        "values put at the end of a variable, after a colon",
    ),
    "siteEnvPrepend": (
        *("site_env_prepend", _assignments, _EMPTY_LIST),
        "values put at the start of a variable, before a colon",
    ),
    "siteEnvUnset": (
        *("site_env_unset", _words, _EMPTY_LIST),
        "variables removed from every container",
    ),
    "sitePreMountHook": (
        *("site_pre_mount_hook", _optional_path, ""),
        "a script that root runs before siteFs is mounted",
    ),
    "sitePostMountHook": (
        *("site_post_mount_hook", _optional_path, ""),
        "a script that root runs after siteFs is mounted",
    ),
    "hookTimeout": (
        *("hook_timeout", _seconds, 60.0),
        "seconds that each script of the site or of a module may take; 0: for ever",
    ),
    "mountUdiRootWritable": (
        *("mount_udi_root_writable", _flag, False),
        "1: the container's root stays writable until it ends; 0: read-only",
    ),
    "mountPropagationStyle": (
        *("mount_propagation_style", _propagation, "private"),
        "private: mounts that the node makes later stay outside; slave: they appear inside",
    ),
    "rootfsType": (
        *("rootfs_type", _memory_filesystem, "tmpfs"),
        "tmpfs or ramfs, for what the site adds to an image",
    ),
    "allowLocalChroot": (
        *("allow_local_chroot", _flag, False),
        "1: users may use a directory as image (local:/path)",
    ),
    "imageOwners": (
        *("image_owners", _words, _EMPTY_LIST),
        "users other than root whose files below imagePath are trusted as images",
    ),
    "perNodeCachePath": (
        *("per_node_cache_path", _optional_path, ""),
        "the directory for the files behind perNodeCache volumes; unset: no such volumes",
    ),
    "perNodeCacheSizeLimit": (
        *("per_node_cache_size_limit", _size, None),
        "how large one perNodeCache may be, for example 200G",
    ),
    "perNodeCacheAllowedFsType": (
        *("per_node_cache_allowed_fs_type", _words, _EMPTY_LIST),
        "filesystems that perNodeCachePath may be on; unset: any",
    ),
    "imageGateway": (
        *("image_gateway", _words, _EMPTY_LIST),
        "base URLs of the image gateway, tried in this order, separated by spaces",
    ),
    "imageLookup": (
        *("image_lookup", _lookup_order, ("gateway", "index")),
        "who says which image a name means: gateway, index (beside the images), or both, in order",
    ),
    "gatewayTimeout": (
        *("gateway_timeout", _seconds, 0.0),
        "seconds to wait for an answer of the gateway; 0: for ever",
    ),
    "mungeSocketPath": (
        *("munge_socket", _optional_path, ""),
        "the socket of the munge daemon; unset: munge's own default",
    ),
    "system": (
        *("system", _text, ""),
        "the name under which the gateway knows this cluster",
    ),
    "defaultImageType": (
        *("default_image_type", _text, ""),
        "the type of an image that is named without one, usually docker",
    ),
    "defaultModules": (
        *("default_modules", _comma_words, _EMPTY_LIST),
        "modules that are active when the user names none, separated by commas",
    ),
    "batchType": (*("batch_type", _text, ""), "the batch system; for information only"),
    "mkfsXfsPath": (
        *("mkfs_xfs_path", _optional_path, ""),
        "the program mkfs.xfs, for perNodeCache volumes",
    ),
    "nodeContextPrefix": (*("node_context_prefix", _text, ""), "accepted, not used"),
    "ddPath": (*("dd_path", _text, ""), "accepted, not used"),
    "cpPath": (*("cp_path", _text, ""), "accepted, not used"),
    "mvPath": (*("mv_path", _text, ""), "accepted, not used"),
    "chmodPath": (*("chmod_path", _text, ""), "accepted, not used"),
    "modprobePath": (*("modprobe_path", _text, ""), "accepted, not used"),
    "insmodPath": (*("insmod_path", _text, ""), "accepted, not used"),
}
