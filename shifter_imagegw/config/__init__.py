# SPDX-License-Identifier: BSD-3-Clause
"""imagemanager.json: the gateway's configuration, read once, typed and immutable."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from shifter_imagegw.config import values
from shifter_imagegw.config.fields import Fields
from shifter_imagegw.config.places import LocationConfig, SshConfig, SystemConfig
from shifter_imagegw.config.words import (
    AccessType,
    Authentication,
    AuthMethod,
    GroupSource,
    LogFormat,
    LogLevel,
)
from shifter_imagegw.errors import ConfigError

CONFIG_FILE = "/etc/shifter/imagemanager.json"  # unless GWCONFIG or --config names another

__all__ = [
    "AccessType",
    "AuthMethod",
    "Authentication",
    "GatewayConfig",
    "GroupSource",
    "LimitsConfig",
    "LocationConfig",
    "LogFormat",
    "MongoConfig",
    "SshConfig",
    "SystemConfig",
    "load",
]

_log = logging.getLogger(__name__)

_IMAGE_EXPIRATION = "90:00:00:00"
_PULL_UPDATE_SECONDS = 300
_PULL_TIMEOUT_SECONDS = 6 * 3600
_EXAMINER_SECONDS = 600
_USAGE_DAYS = 400
_GIB = 1 << 30

# Keys of the original that change nothing here: old files may keep them.
_UNUSED = ("DefaultLustreReplication",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MongoConfig:
    """Where the catalog is kept in production."""

    uri: str = dataclasses.field(repr=False)  # may hold a password
    database: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """How much one image, one pull and one user may take; None: as much as there is."""

    image_bytes: int = 512 * _GIB  # of files in an image, unpacked
    image_entries: int = 2_000_000
    pull: timedelta = timedelta(seconds=_PULL_TIMEOUT_SECONDS)
    cache_bytes: int = 200 * _GIB
    queued_pulls_per_user: int = 100
    images_per_user: int | None = None  # on each system
    bytes_per_user: int | None = None  # on each system

    @classmethod
    def taken_from(cls, fields: Fields) -> LimitsConfig:
        return cls(
            image_bytes=values.size(fields, "MaxImageSize") or cls.image_bytes,
            image_entries=values.count(fields, "MaxEntries") or cls.image_entries,
            pull=values.positive_seconds(fields, "PullTimeout", _PULL_TIMEOUT_SECONDS),
            cache_bytes=values.size(fields, "CacheSize") or cls.cache_bytes,
            queued_pulls_per_user=(
                values.count(fields, "MaxQueuedPullsPerUser") or cls.queued_pulls_per_user
            ),
            images_per_user=values.count(fields, "MaxImagesPerUser"),
            bytes_per_user=values.size(fields, "MaxBytesPerUser"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """Everything that imagemanager.json says."""

    systems: Mapping[str, SystemConfig]
    locations: Mapping[str, LocationConfig]
    default_location: str  # a key of `locations`
    default_format: str
    cache_directory: Path
    expand_directory: Path
    catalog_path: Path  # of the SQLite file, where `mongodb` is None
    mongodb: MongoConfig | None
    broker: str | None = dataclasses.field(repr=False)  # Redis URL; may hold a password
    key_file: Path | None  # with the key that logins of queued pulls are sealed with
    limits: LimitsConfig
    pull_update_timeout: timedelta
    image_expiration: timedelta
    worker_threads: int
    authentication: Authentication
    allow_anonymous: bool
    converter_options: Mapping[str, tuple[str, ...]]  # by image format
    stripe_count: int  # Lustre OSTs that an image file is spread over; 0: as its directory says
    examiner: Path | None  # a program that is shown each image before it is READY
    examiner_timeout: timedelta
    import_users: tuple[str, ...]  # user names; nobody where empty
    anyone_may_import: bool
    trusted_importers: tuple[str, ...]  # whose squashfs files are taken as they are
    metrics: bool
    usage: timedelta  # for how long the usage history is kept
    web_page: bool  # whether there is one
    web_url: str | None  # where browsers find it, without a slash at the end; None: as they ask
    log_level: int  # of the logging module
    log_format: LogFormat | None  # None: as the process likes

    @classmethod
    def from_mapping(cls, section: object) -> GatewayConfig:
        fields = Fields("", section, unused=_UNUSED)
        locations = {
            name: LocationConfig.from_mapping(name, value)
            for name, value in fields.take("Locations", dict).items()
        }
        systems = {
            name: SystemConfig.from_mapping(name, value)
            for name, value in fields.take("Platforms", dict).items()
        }
        if not systems:
            raise ConfigError("Platforms names no system, so there is nowhere for images to go")
        cache_directory = fields.path("CacheDirectory")
        import_users = fields.names("ImportUsers", nobody=("None", "none"))
        config = cls(
            systems=systems,
            locations=locations,
            default_location=_one_of(fields, "DefaultImageLocation", locations),
            default_format=values.spelled_format(fields.take("DefaultImageFormat", str)),
            cache_directory=cache_directory,
            expand_directory=fields.optional_path("ExpandDirectory") or cache_directory / "expand",
            catalog_path=fields.optional_path("CatalogPath") or cache_directory / "catalog.sqlite",
            mongodb=_mongodb(fields),
            broker=_broker(fields),
            key_file=fields.optional_path("KeyFile"),
            limits=LimitsConfig.taken_from(fields),
            pull_update_timeout=_update_timeout(fields),
            image_expiration=values.days_to_seconds(
                fields, "ImageExpirationTimeout", _IMAGE_EXPIRATION
            ),
            worker_threads=values.count(fields, "WorkerThreads") or 1,
            authentication=fields.choose(
                "Authentication", Authentication, default=Authentication.MUNGE
            ),
            allow_anonymous=fields.take("AllowAnonymous", bool, default=False),
            converter_options=values.words_by_format(fields, "ConverterOptions"),
            stripe_count=_stripe_count(fields),
            examiner=values.existing_file(fields, "examiner"),
            examiner_timeout=values.positive_seconds(fields, "ExaminerTimeout", _EXAMINER_SECONDS),
            import_users=import_users,
            anyone_may_import=import_users == ("all",),
            trusted_importers=fields.names("TrustedImporters", nobody=("None", "none")),
            metrics=fields.take("Metrics", bool, default=False),
            usage=timedelta(days=values.count(fields, "UsageDays") or _USAGE_DAYS),
            web_page=fields.take("WebPage", bool, default=True),
            web_url=values.web_url(fields, "WebUrl"),
            log_level=_log_level(fields),
            log_format=_log_format(fields),
        )
        fields.warn_of_leftovers()
        _require_munge_sockets(config)
        return config


def load(path: Path) -> GatewayConfig:
    """Read imagemanager.json; errors name the file, the section and the key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"cannot read {path}: there is no such file; start from one of the examples "
            "(imagemanager*.json.example), or name another with --config or GWCONFIG"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: byte {error.start} is not") from error
    try:
        content = json.loads(text, object_pairs_hook=_section)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}: not JSON at line {error.lineno}, column {error.colno}: {error.msg} "
            "(JSON has no comments, and no comma after the last of a list)"
        ) from error
    try:
        return GatewayConfig.from_mapping(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _section(pairs: list[tuple[str, object]]) -> dict[str, object]:
    section = dict(pairs)
    if len(section) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        _log.warning("given more than once, and only the last counts: %s", ", ".join(twice))
    return section


def _mongodb(fields: Fields) -> MongoConfig | None:
    uri = fields.secret("MongoDBURI")
    database = fields.optional("MongoDB", str)
    if uri is None:
        return None
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise ConfigError("MongoDBURI must start with mongodb:// or mongodb+srv://")
    if not database:
        raise ConfigError("MongoDB is missing: it names the database at MongoDBURI")
    return MongoConfig(uri=uri, database=database)


def _broker(fields: Fields) -> str | None:
    url = fields.secret("Broker")
    if url is not None and not url.startswith(("redis://", "rediss://", "redis+socket://")):
        raise ConfigError("Broker must be the URL of a Redis server, such as redis://host:6379/0")
    return url


def _stripe_count(fields: Fields) -> int:
    value = fields.optional("DefaultOstCount", object)
    # The original keeps it as text in its records, so either may stand in old files.
    if value is None or (text := str(value).strip()) == "":
        return 0
    if not text.removeprefix("-").isdecimal() or int(text) < -1:
        raise ConfigError(f"DefaultOstCount must be a number of OSTs, or -1 for all, not {value!r}")
    return int(text)


def _one_of(fields: Fields, key: str, known: Mapping[str, object]) -> str:
    name = fields.take(key, str)
    if name not in known:
        raise ConfigError(f"{key} {name!r} is not in Locations, which has {sorted(known)}")
    return name


def _update_timeout(fields: Fields) -> timedelta:
    alias = values.seconds(fields, "PullUpdateTime")
    seconds = values.seconds(fields, "PullUpdateTimeout")
    if seconds is None:
        seconds = _PULL_UPDATE_SECONDS if alias is None else alias
    return timedelta(seconds=seconds)


def _log_level(fields: Fields) -> int:
    level = fields.choose("LogLevel", LogLevel, default=LogLevel.INFO)
    return logging.getLevelNamesMapping()[level.value.upper()]


def _log_format(fields: Fields) -> LogFormat | None:
    if "LogFormat" not in fields:
        return None
    return fields.choose("LogFormat", LogFormat, default=LogFormat.TEXT)


def _require_munge_sockets(config: GatewayConfig) -> None:
    if config.authentication is not Authentication.MUNGE:
        return
    for system in config.systems.values():
        if system.munge_socket is None:
            raise ConfigError(
                f"Platforms.{system.name}.mungeSocketPath is missing: it names the munge socket "
                "that checks this system's users"
            )
