# SPDX-License-Identifier: BSD-3-Clause
"""udiRoot.conf: what a site decides about the runtime, and how clients find the gateway.

`config_keys` is the reference of all keys; `config_findings` looks at a file on behalf of the
administrator, which no launch pays for.
"""

from __future__ import annotations

from shifter_common import keyvalue
from shifter_runtime.config_keys import EMPTY_LIST, KEYS, MODULE_KEYS, REQUIRED
from shifter_runtime.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE_PREFIX = "module_"
_DEPRECATED = frozenset(
    ("autoLoadKernelModule", "kmodBasePath", "kmodCacheFile", "optionalSshdAsRoot")
)
_MODULE_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-")


class Finding:
    """What an administrator should know about a file; `line` is 0 where it is about all of it."""

    __slots__ = ("is_error", "key", "line", "path", "text")

    def __init__(self, path: str, line: int, key: str, text: str, *, is_error: bool) -> None:
        self.path = path
        self.line = line
        self.key = key
        self.text = text
        self.is_error = is_error

    def __str__(self) -> str:
        place = f"{self.path}: line {self.line}" if self.line else self.path
        return f"{place}: {self.text}"


class RuntimeConfig:
    """What udiRoot.conf says. Every key of the original is read and checked, used or not."""

    path: str
    warnings: list[str]  # what is odd in the file but does not keep it from being used
    modules: dict[str, dict[str, list[str]]]  # name -> last part of the key -> values, in order

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
    image_read_ahead: int
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
    config, found = examine(text, path)
    for finding in found:
        if finding.is_error:
            raise ConfigError(str(finding))
    config.warnings = [str(finding) for finding in found]
    return config


def findings(text: str, path: str) -> list[Finding]:
    """Everything that is wrong or odd in a file, and what it names that is not on this node."""
    from shifter_runtime import config_findings  # here: for administrators, not for launches

    return config_findings.find(text, path)


def examine(text: str, path: str) -> tuple[RuntimeConfig, list[Finding]]:
    """What a text says, as far as it can be understood, and all that is wrong or odd in it."""
    config = RuntimeConfig()
    config.path = path
    config.warnings = []
    config.modules = {}
    found: list[Finding] = []
    for attribute, _, default, _ in KEYS.values():
        setattr(config, attribute, [] if default is EMPTY_LIST else default)
    for entry in keyvalue.entries(text, "="):
        complaint, is_error = "", True
        if entry.value is None:
            complaint, is_error = f"not of the form key = value, ignored: {entry.key!r}", False
        elif entry.key in KEYS:
            complaint = _assign(config, entry.key, entry.value)
            if not complaint and config.rootfs_type != "tmpfs":
                complaint, is_error = _use_tmpfs(config), False
        elif _is_module_key(entry.key):
            complaint = _assign_module(config, entry.key, entry.value)
        else:
            complaint, is_error = _unknown(entry.key), False
        if complaint:
            found.append(Finding(path, entry.line, entry.key, complaint, is_error=is_error))
    mistaken = {finding.key for finding in found}
    found += [
        Finding(path, 0, key, complaint, is_error=True)
        for key, complaint in _lacking(config)
        if key not in mistaken
    ]
    return config, found


def _assign(config: RuntimeConfig, key: str, text: str) -> str:
    """Set the attribute of `key`; list keys gather what all their lines say. What is wrong."""
    attribute, read, _, _ = KEYS[key]
    try:
        value = read(text)
    except ValueError as error:
        return f"{key} must be {error}, not {text!r}"
    if "\0" in text:
        return f"{key} holds a NUL character"
    if isinstance(value, list):
        value = getattr(config, attribute) + value
    setattr(config, attribute, value)
    return ""


def _use_tmpfs(config: RuntimeConfig) -> str:
    """An overlay needs extended attributes of its writable layer, which ramfs has not."""
    config.rootfs_type = "tmpfs"
    return "rootfsType = ramfs cannot be had, because the root is an overlay: tmpfs is used"


def _is_module_key(key: str) -> bool:
    name, _, part = key[len(MODULE_PREFIX) :].partition("_")
    return key.startswith(MODULE_PREFIX) and part in MODULE_KEYS and is_module_name(name)


def is_module_name(name: str) -> bool:
    """Whether a module may be called so: its name is part of a path, and of a list in a file."""
    return _MODULE_NAME.issuperset(name) and name not in ("", ".", "..", "none")


def _assign_module(config: RuntimeConfig, key: str, text: str) -> str:
    """Keep what one line says of a module: of list keys all lines, else the last."""
    name, _, part = key[len(MODULE_PREFIX) :].partition("_")
    read, _ = MODULE_KEYS[part]
    try:
        value = read(text)
    except ValueError as error:
        return f"{key} must be {error}, not {text!r}"
    if "\0" in text:
        return f"{key} holds a NUL character"
    values = config.modules.setdefault(name, {})
    if isinstance(value, list):
        values.setdefault(part, []).extend(value)
    else:
        values[part] = [text if isinstance(value, bool) else str(value)]
    return ""


def _lacking(config: RuntimeConfig) -> Iterator[tuple[str, str]]:
    for key in REQUIRED:
        if not getattr(config, KEYS[key][0]):
            yield key, f"{key} is not set: {KEYS[key][3]}"
    if not config.populate_etc_dynamically and not config.etc_path:
        yield "etcPath", "etcPath is not set: give it, or set populateEtcDynamically = 1"
    udi, loop = f"{config.udi_mount}/", f"{config.loop_mount}/"
    if "/" not in (udi, loop) and (udi.startswith(loop) or loop.startswith(udi)):
        yield "loopMount", "udiMount and loopMount must be two directories, neither in the other"


def _unknown(key: str) -> str:
    if key in _DEPRECATED:
        return f"{key} is deprecated and ignored"
    from shifter_runtime.spelling import nearest_to  # here: few files hold an unknown key

    name, _, part = key[len(MODULE_PREFIX) :].partition("_")
    if key.startswith(MODULE_PREFIX) and "_" in part:
        return f"unknown key {key!r} ignored: the name of a module cannot hold '_'"
    if key.startswith(MODULE_PREFIX) and part in MODULE_KEYS:
        return (
            f"unknown key {key!r} ignored: a module's name is made of letters, digits and .+-, "
            "and is not 'none'"
        )
    if key.startswith(MODULE_PREFIX) and part:
        nearest, start = nearest_to(part, MODULE_KEYS), f"{MODULE_PREFIX}{name}_"
    else:
        nearest, start = nearest_to(key, KEYS), ""
    hint = f", did you mean {start}{nearest}?" if nearest else ""
    return f"unknown key {key!r} ignored{hint}"
