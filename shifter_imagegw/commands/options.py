# SPDX-License-Identifier: BSD-3-Clause
"""Options that several commands of `shifter-gateway` have."""

from __future__ import annotations

from pathlib import Path

import click

from shifter_imagegw.config import CONFIG_FILE

config_option = click.option(
    "--config",
    "config_path",
    envvar="GWCONFIG",
    default=CONFIG_FILE,
    show_default=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The imagemanager.json to read.",
    show_envvar=True,
)

system_option = click.option(
    "--system", metavar="NAME", help="Only this system, of those in Platforms."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
