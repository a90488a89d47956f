# SPDX-License-Identifier: BSD-3-Clause
"""Which delivery a system's configuration means."""

from __future__ import annotations

from shifter_imagegw.config import GatewayConfig, SystemConfig
from shifter_imagegw.delivery import Delivery
from shifter_imagegw.delivery.local import LocalDelivery


def open_delivery(system: SystemConfig, config: GatewayConfig) -> Delivery:
    """The image directory of a system, on this host's filesystems or on another host's."""
    if system.ssh is None:
        return LocalDelivery(system.name, system.image_dir, stripe_count=config.stripe_count)
    from shifter_imagegw.delivery.ssh import SshDelivery

    return SshDelivery(
        system.name,
        system.image_dir,
        system.ssh,
        staging_directory=config.expand_directory,
        stripe_count=config.stripe_count,
    )
