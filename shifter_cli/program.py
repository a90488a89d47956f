# SPDX-License-Identifier: BSD-3-Clause
"""How both commands end: what failed in words on standard error, and an exit status that tells."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from shifter_cli import output
from shifter_cli.errors import PullFailedError
from shifter_common.errors import ShifterError

_FAILED = 1
_INTERRUPTED = 130  # as shells say for SIGINT


def run(
    group: click.Group, name: str, settings: object, arguments: Sequence[str] | None
) -> NoReturn:
    """Run `group` as the program `name`: 0, 1 for a failure, 130 when interrupted, or its own."""
    for stream in (sys.stdout, sys.stderr):
        # Names from elsewhere must not break the output of a machine with a plain locale.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    sys.exit(_status(group, name, settings, arguments))


def _status(
    group: click.Group, name: str, settings: object, arguments: Sequence[str] | None
) -> int:
    try:
        return int(group.main(arguments, name, obj=settings, standalone_mode=False) or 0)
    except click.Abort:
        return _INTERRUPTED
    except click.ClickException as error:
        words = " ".join(error.format_message().split())  # click spreads choices over lines
        output.complain(f"{words} ({name} --help shows how)", name)
    except PullFailedError as error:
        output.show_errors(error.causes, name)
    except ShifterError as error:
        output.show_errors([error], name)
    except OSError as error:  # all others were given words where they are known
        output.complain(f"cannot write the output: {error.strerror}", name)
        # What is left in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _FAILED
