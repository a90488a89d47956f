# SPDX-License-Identifier: BSD-3-Clause
"""The keys of udiRoot.conf: the whole configuration reference, as one table.

Parser, defaults, the table in etc/README.md and `shifter-admin config check` are all driven by it.
The docstring of a reader says of which type its values are; a ValueError says what a value must be,
to follow "KEY must be".
"""

from __future__ import annotations

from shifter_common.reference import IMAGE_TYPES
from shifter_runtime.volumes import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Value = str | bool | int | float | list[str] | tuple[str, ...] | None
    Key = tuple[str, Callable[[str], Value], Value, str]  # attribute, reader, default, meaning


def _text(text: str) -> str:
    """a word"""
    return text


def _directory(text: str) -> str:
    """a directory"""
    if not text.startswith("/") or ".." in text.split("/"):
        raise ValueError("an absolute path without '..'")
    return "/" + "/".join(part for part in text.split("/") if part not in ("", "."))


def _mount_point(text: str) -> str:
    """a directory"""
    path = _directory(text)
    if path == "/":
        raise ValueError("a directory other than /")
    return path


def _optional_path(text: str) -> str:
    """a path"""
    return _directory(text) if text else ""


def _flag(text: str) -> bool:
    """0 or 1"""
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def _number(text: str) -> int:
    """a number"""
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError("a number")
    return int(text)


def _seconds(text: str) -> float:
    """seconds"""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise ValueError("a number of seconds")
    return float(text)


def _size(text: str) -> int:
    """a size, such as 200G"""
    size = parse_size(text)
    if size is None:
        raise ValueError("a size such as 512M or 1.5G")
    return size


def _words(text: str) -> list[str]:
    """words"""
    return text.split()


def _comma_words(text: str) -> list[str]:
    """words"""
    return text.replace(",", " ").split()


def _assignments(text: str) -> list[str]:
    """NAME=value words"""
    for word in text.split():
        if word.find("=") < 1:
            raise ValueError("words of the form NAME=value")
    return text.split()


def _volumes(text: str) -> list[str]:
    """volumes"""
    return [text] if text else []  # `volumes.parse_site` reads the items of each line


def _lookup_order(text: str) -> tuple[str, ...]:
    """words"""
    words = tuple(text.split())
    if words not in (("gateway", "index"), ("index", "gateway"), ("gateway",), ("index",)):
        raise ValueError("gateway, index, or both in either order")
    return words


def _propagation(text: str) -> str:
    """private or slave"""
    if text not in ("private", "slave"):
        raise ValueError("private or slave")
    return text


def _memory_filesystem(text: str) -> str:
    """tmpfs or ramfs"""
    if text not in ("tmpfs", "ramfs"):
        raise ValueError("tmpfs or ramfs")
    return text


def _image_type(text: str) -> str:
    """an image type"""
    if text and text not in IMAGE_TYPES:
        raise ValueError(f"one of {', '.join(IMAGE_TYPES)}")
    return text


EMPTY_LIST: list[str] = []  # a default of KEYS; each configuration gets its own

REQUIRED = ("udiMount", "loopMount", "imagePath", "udiRootPath")

KEYS: dict[str, Key] = {
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
        *("users_to_import", _words, EMPTY_LIST),
        "further users to list in the container's passwd",
    ),
    "maxGroupCount": (
        *("max_group_count", _number, 0),
        "in how many groups the container's group file lists the user; 0: in none",
    ),
    "siteFs": (
        *("site_fs", _volumes, EMPTY_LIST),
        "directories and files of the node that every container sees: from[:to[:flags]], separated "
        "by ; with the flags ro, rec, slave, private and perNodeCache=size=SIZE",
    ),
    "siteEnv": (
        *("site_env", _assignments, EMPTY_LIST),
        "variables set in every container: NAME=value, separated by spaces",
    ),
    "siteEnvAppend": (
        *("site_env_append", _assignments, EMPTY_LIST),
        "values put at the end of a variable, after a colon",
    ),
    "siteEnvPrepend": (
        *("site_env_prepend", _assignments, EMPTY_LIST),
        "values put at the start of a variable, before a colon",
    ),
    "siteEnvUnset": (
        *("site_env_unset", _words, EMPTY_LIST),
        "variables removed from every container",
    ),
    "sitePreMountHook": (
        *("site_pre_mount_hook", _optional_path, ""),
        "a script that root runs before siteFs is mounted, in the container's root directory",
    ),
    "sitePostMountHook": (
        *("site_post_mount_hook", _optional_path, ""),
        "a script that root runs after siteFs is mounted, in the container's root directory",
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
        "where what the site adds to an image is kept; ramfs is taken as tmpfs",
    ),
    "allowLocalChroot": (
        *("allow_local_chroot", _flag, False),
        "1: users may use a directory as image (local:/path)",
    ),
    "imageOwners": (
        *("image_owners", _words, EMPTY_LIST),
        "users other than root whose files below imagePath are trusted as images",
    ),
    "imageReadAhead": (
        *("image_read_ahead", _size, 0),
        "how much of an image a node reads in the background when it mounts it, such as 512M",
    ),
    "perNodeCachePath": (
        *("per_node_cache_path", _optional_path, ""),
        "the directory for the files behind perNodeCache volumes (root's, mode 1733); unset: none",
    ),
    "perNodeCacheSizeLimit": (
        *("per_node_cache_size_limit", _size, None),
        "how large one perNodeCache may be, for example 200G",
    ),
    "perNodeCacheAllowedFsType": (
        *("per_node_cache_allowed_fs_type", _comma_words, EMPTY_LIST),
        "kinds of filesystem that a perNodeCache may be; all are xfs, so without that: none",
    ),
    "imageGateway": (
        *("image_gateway", _words, EMPTY_LIST),
        "base URLs of image gateways, separated by spaces, asked in random order until one answers",
    ),
    "imageLookup": (
        *("image_lookup", _lookup_order, ("gateway", "index")),
        "who says which image a name means: gateway, index (beside the images), or both, in order",
    ),
    "gatewayTimeout": (
        *("gateway_timeout", _seconds, 0.0),
        "seconds that one request to one gateway may take; 0: for ever",
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
        *("default_image_type", _image_type, ""),
        "the type of an image that is named without one, usually docker",
    ),
    "defaultModules": (
        *("default_modules", _comma_words, EMPTY_LIST),
        "modules that are active when the user names none, separated by commas",
    ),
    "batchType": (*("batch_type", _text, ""), "accepted, not used: the batch system"),
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

# What may be said of a module, in module_<name>_<last part of the key>.
MODULE_KEYS: dict[str, tuple[Callable[[str], Value], str]] = {
    "enabled": (_flag, "0: nobody may use it; 1, or unset: who chooses it"),
    "siteFs": (_volumes, "directories of the node, mounted after the site's; written as siteFs"),
    "copyPath": (
        _optional_path,
        "a directory of the node that appears, read-only, at /opt/udiImage/modules/NAME",
    ),
    "siteEnv": (_assignments, "variables set: NAME=value, separated by spaces"),
    "siteEnvAppend": (_assignments, "values put at the end of a variable, after a colon"),
    "siteEnvPrepend": (_assignments, "values put at the start of a variable, before a colon"),
    "siteEnvUnset": (_words, "variables removed"),
    "conflict": (_comma_words, "modules that cannot be active beside it"),
    "roothook": (
        _optional_path,
        "a script of the node that root runs while the container is built, in its root directory",
    ),
    "userhook": (
        _optional_path,
        "a script in the container that the user runs, before the program",
    ),
}
