# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway key`: the key that seals logins of queued pulls."""

from __future__ import annotations

import os
from pathlib import Path

import click

from shifter_imagegw.credentials import new_key
from shifter_imagegw.errors import ConfigError


@click.command(short_help="Make a new key for KeyFile.")
@click.option(
    "--write",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it to this new file, readable to its owner alone, rather than show it.",
)
def key(path: Path | None) -> None:
    """Make a new key for KeyFile, which seals the logins of queued pulls.

    Each host of the gateway needs the same one. Logins that another key has sealed are lost: their
    users are told to pull again.

    \b
    Example:
      shifter-gateway key --write /etc/shifter/gateway.key
      chown shifter: /etc/shifter/gateway.key
    """
    text = f"{new_key()}\n"
    if path is None:
        click.echo(text, nl=False)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with open(os.open(path, flags, 0o600), "w") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{os.fspath(path)!r} is there already: move it away first, and mind that logins that "
            "it has sealed are lost"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
