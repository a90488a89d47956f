# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin gc`: remove what nobody needs any more."""

from __future__ import annotations

import time
from typing import Any

import click

from shifter_cli import output
from shifter_cli.administration import gateway_program, screen
from shifter_cli.administration.options import (
    Settings,
    file_option,
    gateway_config_option,
    json_option,
    yes_option,
)
from shifter_cli.administration.screen import show
from shifter_cli.errors import SettingsError

_EXAMPLES = """\
\b
Examples:
  shifter-admin gc --dry-run
  shifter-admin gc
  shifter-admin gc --remote --yes             from cron, on a login node
  shifter-admin gc --yes --json               from cron, on the gateway's host
"""


@click.command(epilog=_EXAMPLES, short_help="Remove expired images, orphans, leftovers.")
@click.option("--dry-run", is_flag=True, help="Say what would go and how much that is; no more.")
@click.option("--remote", is_flag=True, help="Ask the gateway; do nothing on this host's disks.")
@yes_option
@gateway_config_option
@file_option
@json_option
@click.pass_obj
def gc(
    settings: Settings,
    dry_run: bool,
    remote: bool,
    yes: bool,
    gateway_config: str | None,
    as_json: bool,
) -> int:
    """Remove what nobody needs any more.

    On a host of the gateway, all of it: images whose time has come, images that no record knows,
    files that a dead worker left half written, downloaded layers beyond CacheSize, records of jobs
    that ended. That is left to shifter-gateway, for all systems of the gateway.

    Elsewhere, or with --remote, the gateway is asked, as an administrator of this system, to remove
    the images whose time has come, and old records.
    """
    if not remote:
        try:
            program = gateway_program.find(settings.load_if_any(), settings.path, gateway_config)
        except SettingsError:
            if gateway_config:
                raise
        else:
            words = [("--dry-run", dry_run), ("--yes", yes), ("--json", as_json)]
            return program.hand_over(["gc", *(word for word, is_set in words if is_set)])
    return _ask_gateway(settings, dry_run=dry_run, yes=yes, as_json=as_json)


def _ask_gateway(settings: Settings, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    gateway, now = settings.gateway(), time.time()
    expired = [
        image for image in gateway.images() if image.expiration is not None
        and image.expiration < now
    ]  # fmt: skip
    size = output.bytes_text(sum(image.size or 0 for image in expired))
    if not as_json:
        for image in expired:
            names = " ".join(sorted(image.tags)) or f"id:{image.image_id}"
            show(f"expired since {screen.day(image.expiration)}: {output.printable(names)}")
    removed: list[str] | None = None
    if not dry_run:
        if expired:
            screen.confirm(f"Remove {screen.counted(len(expired), 'image')}, {size}?", yes=yes)
        removed = gateway.autoexpire()
    if as_json:
        content: dict[str, Any] = {
            "expired": [image.wire for image in expired],
            "removed": removed or [],
            "dry_run": dry_run,
        }
        output.show_json(content)
        return 0
    if removed is None:
        show(f"{screen.counted(len(expired), 'expired image')}, {size}, would go")
    else:
        show(f"removed: {screen.counted(len(removed), 'image')}, {size}; old records are forgotten")
    output.complain(
        "not looked at: orphans, half-written files and downloaded layers, which `shifter-admin "
        "gc` removes on the gateway's host",
        "shifter-admin",
    )
    return 0
