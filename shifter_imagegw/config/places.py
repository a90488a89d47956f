# SPDX-License-Identifier: BSD-3-Clause
"""Where images come from (`Locations`) and where they go (`Platforms`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from shifter_imagegw.config import values
from shifter_imagegw.config.fields import Fields
from shifter_imagegw.config.words import AccessType, AuthMethod, GroupSource
from shifter_imagegw.errors import ConfigError

_DOCKER_HUB = "https://registry-1.docker.io"
_DOCKER_HUB_NAMES = frozenset({"docker.io", "index.docker.io"})

# Keys of the original that change nothing here: old files may keep them.
_UNUSED_OF_LOCATION = ("authentication",)
_UNUSED_OF_SYSTEM = ("mountCommand", "policy_file", "use_external", "usergroupService")


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
            ca_file=values.existing_file(fields, "sslcacert"),
            auth_method=fields.choose("authMethod", AuthMethod, default=AuthMethod.TOKEN),
        )
        fields.warn_of_leftovers()
        return location


@dataclasses.dataclass(frozen=True, kw_only=True)
class SshConfig:
    """How to reach the hosts that write to a remote system's filesystem."""

    hosts: tuple[str, ...]  # `host`, `host:port`, an IPv6 address, `[IPv6 address]:port`
    username: str | None = None
    key: Path | None = None
    ssh_options: tuple[str, ...] = ()
    scp_options: tuple[str, ...] = ()
    every_host: bool = False  # each host has a filesystem of its own; else any one of them will do

    @classmethod
    def from_mapping(cls, system: Fields, fields: Fields) -> SshConfig:
        hosts = system.names("host")
        for host in hosts:
            if not values.is_ssh_host(host):
                raise ConfigError(f"{system.name('host')} must name hosts, not {host!r}")
        if not hosts:
            raise ConfigError(f"{system.name('host')} is missing: accesstype 'remote' needs it")
        return cls(
            hosts=hosts,
            username=_account(fields),
            key=fields.optional_path("key"),
            ssh_options=values.words(fields, "sshCmdOptions"),
            scp_options=values.words(fields, "scpCmdOptions"),
            every_host=fields.take("everyHost", bool, default=False),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """A cluster that images are delivered to."""

    name: str
    image_dir: Path  # on the gateway's host, or with `ssh` on the system
    access_type: AccessType = AccessType.LOCAL
    ssh: SshConfig | None = None  # for access_type `remote` only
    munge_socket: Path | None = None
    admins: tuple[str, ...] = ()  # user names
    groups_from: GroupSource = GroupSource.GATEWAY
    platform: str | None = None  # OCI os/architecture, such as linux/arm64; None: the gateway's own

    @classmethod
    def from_mapping(cls, name: str, section: object) -> SystemConfig:
        fields = Fields(f"Platforms.{name}", section, unused=_UNUSED_OF_SYSTEM)
        access_type = fields.choose("accesstype", AccessType, default=AccessType.LOCAL)
        ssh_section = fields.optional("ssh", dict)
        ssh_fields = Fields(fields.name("ssh"), ssh_section or {})
        remote_dir = ssh_fields.optional_path("imageDir")
        if access_type is AccessType.REMOTE:
            ssh, image_dir = SshConfig.from_mapping(fields, ssh_fields), remote_dir
            ssh_fields.warn_of_leftovers()
            fields.optional("local", dict)
            if image_dir is None:
                raise ConfigError(f"{ssh_fields.name('imageDir')} is missing")
        else:
            ssh, image_dir = None, _image_dir(fields)
            fields.optional("host", object)  # of a section that is kept for another day
        system = cls(
            name=name,
            image_dir=image_dir,
            access_type=access_type,
            ssh=ssh,
            munge_socket=fields.optional_path("mungeSocketPath"),
            admins=fields.names("admins"),
            groups_from=fields.choose("groupsFrom", GroupSource, default=GroupSource.GATEWAY),
            platform=_platform(fields),
        )
        fields.warn_of_leftovers()
        return system


def _account(fields: Fields) -> str | None:
    name = fields.optional("username", str)
    if name is not None and not values.is_account(name):
        raise ConfigError(f"{fields.name('username')} must name an account, not {name!r}")
    return name


def _registry_url(fields: Fields, text: str) -> str:
    scheme, separator, host = text.rpartition("://")
    if separator and scheme not in ("http", "https"):
        raise ConfigError(f"{fields.name('url')} must start with https:// or http://, not {text!r}")
    host = host.rstrip("/")
    if "@" in host:
        # Not shown: there is a password in it.
        raise ConfigError(f"{fields.name('url')} must hold no login: users bring their own")
    if not values.is_host(host):
        raise ConfigError(f"{fields.name('url')} must be the URL of a registry, not {text!r}")
    if host in _DOCKER_HUB_NAMES:
        return _DOCKER_HUB
    return f"{scheme or 'https'}://{host}"


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
