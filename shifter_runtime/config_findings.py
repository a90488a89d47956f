# SPDX-License-Identifier: BSD-3-Clause
"""What an administrator should know about a udiRoot.conf: all mistakes, and what this node lacks.

Nothing here runs at a launch, and nothing needs privilege: what only root can see is said to be so.
"""

from __future__ import annotations

import os
import stat

from shifter_common import keyvalue
from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import modules, node, trust, volumes
from shifter_runtime.config_keys import KEYS
from shifter_runtime.errors import UntrustedPathError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Complaint = tuple[str, str, bool]  # key, sentence, whether a launch would fail

_MKFS_XFS = ("/usr/sbin/mkfs.xfs", "/sbin/mkfs.xfs")


def find(text: str, path: str) -> list[configs.Finding]:
    """Errors and warnings, in the order of the file; those about all of it come first."""
    config, found = configs.examine(text, path)
    entries = keyvalue.entries(text, "=")
    mistaken = {finding.key for finding in found if finding.is_error}
    for check in _CHECKS:
        for key, sentence, is_error in check(config):
            if key not in mistaken:
                line = _line(entries, key, sentence)
                found.append(configs.Finding(path, line, key, sentence, is_error=is_error))
    return sorted(found, key=lambda finding: finding.line)


def _line(entries: list[keyvalue.Entry], key: str, sentence: str) -> int:
    """Where a key is given; of several lines, the one that says what the sentence is about."""
    lines = [entry for entry in entries if entry.key == key]
    for entry in lines:
        if any(repr(text.strip()) in sentence for text in (entry.value or "").split(";")):
            return entry.line
    for entry in lines:
        words = (entry.value or "").replace(";", " ").replace(",", " ").split()
        named = (word.partition(":")[0] if word.startswith("/") else word for word in words)
        if any(name in sentence for name in named):
            return entry.line
    return lines[-1].line if lines else 0


def _own_file(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    path = os.path.abspath(config.path)
    if os.path.lexists(path):
        yield from _relied_on("", path)


def _directories(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    needed = ["udiRootPath", "imagePath", "optUdiImage", "perNodeCachePath"]
    if not (config.populate_etc_dynamically and config.allow_libc_pwd_calls):
        needed.append("etcPath")
    for key in needed:
        path = getattr(config, KEYS[key][0])
        if path:
            yield from _existing(key, path, stat.S_ISDIR, "a directory")
    if config.image_path and _mode(config.image_path) & stat.S_IWOTH:
        yield "imagePath", f"imagePath: {config.image_path} is writable by everybody", True


def _site_files(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    """What is put into /etc, and read to know who the caller is."""
    if not os.path.isdir(config.etc_path):
        return
    if not config.allow_libc_pwd_calls:
        for name in ("passwd", "group"):
            yield from _relied_on("etcPath", f"{config.etc_path}/{name}")
    if not config.populate_etc_dynamically:
        try:
            node.read_files(config)
        except ShifterError as error:
            yield "etcPath", f"etcPath: {error}", True


def _site_directories(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    yield from _volumes("siteFs", config.site_fs, config)
    for name, values in config.modules.items():
        yield from _volumes(f"module_{name}_siteFs", values.get("siteFs", []), config)


def _volumes(key: str, texts: list[str], config: configs.RuntimeConfig) -> Iterator[Complaint]:
    targets: set[str] = set()
    for text in texts:
        try:
            found = volumes.parse_site(text)
        except ShifterError as error:
            yield key, str(error), True
            continue
        for volume in found:
            if volume.target in targets:
                yield key, f"{key}: {volume.target} is mounted twice, and the last counts", False
            for target in targets:
                if target != volume.target and volumes.is_within(target, volume.target):
                    sentence = f"{target} is hidden by {volume.target}, which is mounted later"
                    yield key, f"{key}: {sentence}", False
            targets.add(volume.target)
            if volume.cache is None:
                yield from _existing(key, volume.source, lambda _: True, "")
            elif not config.per_node_cache_path:
                yield key, f"{key}: perNodeCache needs perNodeCachePath", True


def _hooks(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    for key in ("sitePreMountHook", "sitePostMountHook"):
        path = getattr(config, KEYS[key][0])
        if path:
            yield from _relied_on(key, path)
    for name, values in config.modules.items():
        for path in filter(None, values.get("roothook", [])):
            yield from _relied_on(f"module_{name}_roothook", path)


def _modules(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    for name, values in config.modules.items():
        for other in values.get("conflict", []):
            if other not in config.modules:
                key = f"module_{name}_conflict"
                yield key, f"{key}: there is no module {other!r}", False
        for path in filter(None, values.get("copyPath", [])):
            yield from _relied_on(f"module_{name}_copyPath", path, trust.open_untouchable_tree)
    try:
        modules.select(None, config)
    except ShifterError as error:
        yield "defaultModules", str(error).removeprefix(f"{config.path}: "), True


def _cache(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    if not config.per_node_cache_path:
        if config.per_node_cache_size_limit is not None:
            key = "perNodeCacheSizeLimit"
            yield key, f"{key} has no effect, because perNodeCachePath is not set", False
    elif config.mkfs_xfs_path:
        yield from _executable("mkfsXfsPath", config.mkfs_xfs_path)
    elif not any(map(os.path.exists, _MKFS_XFS)):
        yield "perNodeCachePath", "perNodeCachePath: mkfs.xfs is missing on this node", True


def _gateway(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    for url in config.image_gateway:
        scheme, separator, rest = url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/"):
            yield "imageGateway", f"imageGateway: {url!r} is no URL: http://host:port", True
    if config.image_gateway and not config.system:
        yield "system", "system is not set: the gateway would not know this cluster", True
    if not config.image_gateway and "index" not in config.image_lookup:
        sentence = "imageGateway is not set, so no image can be found by name"
        yield "imageGateway", sentence, False
    if config.image_gateway and os.path.isdir(config.udi_root_path):
        yield from _executable("udiRootPath", f"{config.udi_root_path}/bin/shifterimg")
    if config.munge_socket:
        yield from _existing("mungeSocketPath", config.munge_socket, stat.S_ISSOCK, "a socket")


def _accounts(config: configs.RuntimeConfig) -> Iterator[Complaint]:
    names = node.Names(config)
    for key, wanted in (
        ("usersToImport", config.users_to_import),
        ("imageOwners", [name for name in config.image_owners if not name.isdecimal()]),
    ):
        for name in wanted:
            try:
                known = names.user(name) is not None
            except ShifterError:
                return  # `_site_files` has said why
            if not known:
                yield key, f"{key}: {names.source} does not know {name!r}", True


_CHECKS: tuple[Callable[[configs.RuntimeConfig], Iterator[Complaint]], ...] = (
    *(_own_file, _directories, _site_files, _site_directories, _hooks, _modules),
    *(_cache, _gateway, _accounts),
)


def _existing(
    key: str, path: str, is_right: Callable[[int], bool], kind: str
) -> Iterator[Complaint]:
    try:
        found = os.stat(path)
    except PermissionError:
        yield key, f"{key}: only root can see whether there is {path}", False
    except OSError as error:
        yield key, f"{key}: {path}: {error.strerror}", True
    else:
        if not is_right(found.st_mode):
            yield key, f"{key}: {path} is not {kind}", True


def _executable(key: str, path: str) -> Iterator[Complaint]:
    problems = list(_existing(key, path, stat.S_ISREG, "a program"))
    yield from problems
    if not problems and not _mode(path) & 0o111:
        yield key, f"{key}: {path} is not executable", True


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _relied_on(
    key: str, path: str, check: Callable[[str], int] = trust.open_untouchable
) -> Iterator[Complaint]:
    """Whether root may rely on a file or tree, as the launch will ask."""
    start = f"{key}: " if key else ""
    try:
        os.close(check(path))
    except UntrustedPathError as error:
        if isinstance(error.__cause__, PermissionError):
            yield key, f"{start}only root can check {path}", False
        else:
            yield key, f"{start}{error}", True
