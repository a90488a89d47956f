# SPDX-License-Identifier: BSD-3-Clause
"""What a command looks after: the gateway that a configuration describes, and its systems."""

from __future__ import annotations

from pathlib import Path

from shifter_imagegw import config as configuration
from shifter_imagegw.commands import own_account
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation import logs


def load(path: Path) -> GatewayConfig:
    """The configuration; from here on root is the account that the gateway runs as."""
    config = configuration.load(path)
    own_account.require(config)
    logs.configure(config, "admin")
    return config


def systems(config: GatewayConfig, only: str | None) -> list[str]:
    """All systems, or the one that was named."""
    if only is not None and only not in config.systems:
        raise ConfigError(f"there is no system {only!r}: Platforms has {sorted(config.systems)}")
    return list(config.systems) if only is None else [only]
