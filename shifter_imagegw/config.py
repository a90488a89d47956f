# SPDX-License-Identifier: BSD-3-Clause
"""imagemanager.json: the gateway's configuration, read once, typed and immutable."""

from __future__ import annotations

import dataclasses
import enum
import json
import logging
import shlex
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shifter_imagegw.errors import ConfigError
from shifter_imagegw.fields import Fields

_DOCKER_HUB = "https://registry-1.docker.io"
_DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io"})
_IMAGE_EXPIRATION = "90:00:00:00"
_PULL_UPDATE_SECONDS = 300

# Keys of the original that change nothing here: old files may keep them.
_UNUSED = ("DefaultLustreReplication", "DefaultOstCount", "MongoDB")
_UNUSED_OF_LOCATION = ("authentication",)
_UNUSED_OF_SYSTEM = (
    "host",
    "mountCommand",
    "policy_file",
    "ssh",
    "use_external",
    "usergroupService",
)


class Authentication(enum.StrEnum):
    """How callers prove who they are; `mock` believes everybody and is for tests only."""

    MUNGE = "munge"
    MOCK = "mock"


class AuthMethod(enum.StrEnum):
    """How a registry wants credentials."""

    TOKEN = "token"
    BASIC = "basic"


class LogLevel(enum.StrEnum):
    """The words of the configuration file."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocationConfig:
    """A registry that images come from."""

    name: str
    url: str  # scheme and host, without a slash at its end
    ca_file: Path | None = None
    auth_method: AuthMethod = AuthMethod.TOKEN

    @classmethod
    def from_mapping(cls, name: str, section: object) -> LocationConfig:
        fields = Fields(f"Locations.{name}", section, unused=_UNUSED_OF_LOCATION)
        kind = fields.take("remotetype", str, default="dockerv2")
        if kind != "dockerv2":
            raise ConfigError(f"{fields.name('remotetype')} must be 'dockerv2', not {kind!r}")
        location = cls(
            name=name,
            url=_registry_url(fields, fields.take("url", str, default=name)),
            ca_file=_existing_file(fields, "sslcacert"),
            auth_method=fields.choose("authMethod", AuthMethod, default=AuthMethod.TOKEN),
        )
        fields.warn_of_leftovers()
        return location


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """A cluster that images are delivered to."""

    name: str
    image_dir: Path
    access_type: str = "local"
    munge_socket: Path | None = None
    admins: tuple[str, ...] = ()  # user names
    platform: str | None = None  # OCI os/architecture, such as linux/arm64; None: the gateway's own

    @classmethod
    def from_mapping(cls, name: str, section: object) -> SystemConfig:
        fields = Fields(f"Platforms.{name}", section, unused=_UNUSED_OF_SYSTEM)
        access_type = fields.take("accesstype", str, default="local")
        if access_type == "remote":
            raise ConfigError(
                f"{fields.name('accesstype')}: 'remote' is not in this release: mount the system's "
                "image directory on the gateway and use 'local'"
            )
        if access_type != "local":
            raise ConfigError(f"{fields.name('accesstype')} must be 'local', not {access_type!r}")
        system = cls(
            name=name,
            image_dir=_image_dir(fields),
            access_type=access_type,
            munge_socket=fields.optional_path("mungeSocketPath"),
            admins=fields.names("admins"),
            platform=_platform(fields),
        )
        fields.warn_of_leftovers()
        return system


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """Everything that imagemanager.json says."""

    systems: Mapping[str, SystemConfig]
    locations: Mapping[str, LocationConfig]
    default_location: str  # a key of `locations`
    default_format: str
    cache_directory: Path
    expand_directory: Path
    catalog_path: Path  # of the embedded gateway's SQLite file
    pull_update_timeout: timedelta
    image_expiration: timedelta
    worker_threads: int
    authentication: Authentication
    allow_anonymous: bool
    converter_options: Mapping[str, tuple[str, ...]]  # by image format
    import_users: tuple[str, ...]  # user names; nobody where empty
    anyone_may_import: bool
    metrics: bool
    log_level: int  # of the logging module

    @classmethod
    def from_mapping(cls, section: object) -> GatewayConfig:
        fields = Fields("", section, unused=_UNUSED)
        _refuse_what_is_missing(fields)
        locations = {
            name: LocationConfig.from_mapping(name, value)
            for name, value in fields.take("Locations", dict).items()
        }
        systems = {
            name: SystemConfig.from_mapping(name, value)
            for name, value in fields.take("Platforms", dict).items()
        }
        cache_directory = fields.path("CacheDirectory")
        import_users = fields.names("ImportUsers", nobody=("None", "none"))
        config = cls(
            systems=systems,
            locations=locations,
            default_location=_one_of(fields, "DefaultImageLocation", locations),
            default_format=fields.take("DefaultImageFormat", str),
            cache_directory=cache_directory,
            expand_directory=fields.optional_path("ExpandDirectory") or cache_directory / "expand",
            catalog_path=fields.optional_path("CatalogPath") or cache_directory / "catalog.sqlite",
            pull_update_timeout=_update_timeout(fields),
            image_expiration=_days_to_seconds(fields, "ImageExpirationTimeout", _IMAGE_EXPIRATION),
            worker_threads=_worker_threads(fields),
            authentication=fields.choose(
                "Authentication", Authentication, default=Authentication.MUNGE
            ),
            allow_anonymous=fields.take("AllowAnonymous", bool, default=False),
            converter_options=_converter_options(fields),
            import_users=import_users,
            anyone_may_import=import_users == ("all",),
            metrics=fields.take("Metrics", bool, default=False),
            log_level=_log_level(fields),
        )
        fields.warn_of_leftovers()
        _require_munge_sockets(config)
        return config


def load(path: Path) -> GatewayConfig:
    """Read imagemanager.json; errors name the file, the section and the key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: byte {error.start} is not") from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    try:
        return GatewayConfig.from_mapping(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _refuse_what_is_missing(fields: Fields) -> None:
    if fields.optional("MongoDBURI", str) is not None:
        raise ConfigError(
            "MongoDBURI: this release keeps its catalog in SQLite (see CatalogPath): "
            "remove MongoDBURI"
        )
    if fields.optional("Broker", str) is not None:
        raise ConfigError("Broker: this release runs its own workers: remove Broker")
    if fields.optional("examiner", str) is not None:
        raise ConfigError(
            "examiner: this release shows images to no examiner before it publishes them: "
            "remove examiner if that will do"
        )


def _one_of(fields: Fields, key: str, known: Mapping[str, object]) -> str:
    name = fields.take(key, str)
    if name not in known:
        raise ConfigError(f"{key} {name!r} is not in Locations, which has {sorted(known)}")
    return name


def _update_timeout(fields: Fields) -> timedelta:
    alias = _seconds(fields, "PullUpdateTime")
    seconds = _seconds(fields, "PullUpdateTimeout")
    if seconds is None:
        seconds = _PULL_UPDATE_SECONDS if alias is None else alias
    return timedelta(seconds=seconds)


def _seconds(fields: Fields, key: str) -> float | None:
    value: Any = fields.optional(key, object)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ConfigError(f"{fields.name(key)} must be a number of seconds, not {value!r}")
    return value


def _days_to_seconds(fields: Fields, key: str, default: str) -> timedelta:
    text = fields.take(key, str, default=default)
    parts = text.split(":")
    if len(parts) != 4 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise ConfigError(f"{fields.name(key)} must be 'days:hours:minutes:seconds', not {text!r}")
    days, hours, minutes, seconds = map(int, parts)
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _worker_threads(fields: Fields) -> int:
    count = fields.take("WorkerThreads", int, default=1)
    if count < 1:
        raise ConfigError(f"WorkerThreads must be 1 or more, not {count}")
    return count


def _log_level(fields: Fields) -> int:
    level = fields.choose("LogLevel", LogLevel, default=LogLevel.INFO)
    return logging.getLevelNamesMapping()[level.value.upper()]


def _converter_options(fields: Fields) -> Mapping[str, tuple[str, ...]]:
    options: dict[str, tuple[str, ...]] = {}
    section = Fields("ConverterOptions", fields.optional("ConverterOptions", dict) or {})
    for image_format in section.left():
        value: Any = section.take(image_format, object)
        if isinstance(value, str):
            try:
                value = shlex.split(value)
            except ValueError as error:
                raise ConfigError(f"{section.name(image_format)}: {error}: {value!r}") from error
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{section.name(image_format)} must be a list of str, not {value!r}")
        options[image_format] = tuple(value)
    return options


def _registry_url(fields: Fields, text: str) -> str:
    scheme, separator, host = text.rpartition("://")
    if separator and scheme not in ("http", "https"):
        raise ConfigError(f"{fields.name('url')} must start with https:// or http://, not {text!r}")
    host = host.rstrip("/")
    if not _is_host(host):
        raise ConfigError(f"{fields.name('url')} must be the URL of a registry, not {text!r}")
    if host in _DOCKER_HUB_NAMES:
        return _DOCKER_HUB
    return f"{scheme or 'https'}://{host}"


def _is_host(text: str) -> bool:
    """Whether `text` can follow `https://`; a login in it would end up in logs."""
    try:
        parts = urlsplit(f"https://{text}")
        _ = parts.port
    except ValueError:
        return False
    odd = "@" in parts.netloc or parts.query or parts.fragment
    return bool(parts.hostname) and not odd and not any(map(str.isspace, text))


def _existing_file(fields: Fields, key: str) -> Path | None:
    path = fields.optional_path(key)
    if path is not None and not path.is_file():
        raise ConfigError(f"{fields.name(key)}: there is no file {str(path)!r}")
    return path


def _image_dir(fields: Fields) -> Path:
    if "imageDir" in fields:
        return fields.path("imageDir")
    local = Fields(fields.name("local"), fields.optional("local", dict) or {})
    path = local.path("imageDir")
    local.warn_of_leftovers()
    return path


def _platform(fields: Fields) -> str | None:
    text = fields.optional("platform", str)
    if text is not None and (text.count("/") not in (1, 2) or "" in text.split("/")):
        raise ConfigError(f"{fields.name('platform')} must be such as 'linux/amd64', not {text!r}")
    return text


def _require_munge_sockets(config: GatewayConfig) -> None:
    if config.authentication is not Authentication.MUNGE:
        return
    for system in config.systems.values():
        if system.munge_socket is None:
            raise ConfigError(
                f"Platforms.{system.name}.mungeSocketPath is missing: it names the munge socket "
                "that checks this system's users"
            )
