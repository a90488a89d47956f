# SPDX-License-Identifier: BSD-3-Clause
"""How both commands end: what failed in words on standard error, and an exit status that tells.

docs/exit-codes.md lists the statuses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

import click

from shifter_cli import output
from shifter_cli.completion import QUESTION
from shifter_cli.errors import SeveralFailedError
from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_runtime import VERSION

_FAILED = 1
_INTERRUPTED = 130  # as shells say for SIGINT


version_option = click.version_option(
    VERSION, message="%(prog)s %(version)s", help="Show the version and exit."
)


def run(
    group: click.Command, name: str, settings: object, arguments: Sequence[str] | None
) -> NoReturn:
    """Run `group` as the program `name`: 0, 1, 70 for a defect, 130 for Ctrl-C, or its own."""
    for stream in (sys.stdout, sys.stderr):
        # Names from elsewhere must not break the output of a machine with a plain locale.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    status = _status(group, name, settings, arguments)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(status)


def _status(
    group: click.Command, name: str, settings: object, arguments: Sequence[str] | None
) -> int:
    if QUESTION in os.environ:
        from shifter_cli.completion import answers

        answers.answer(group, settings)
        return 0
    try:
        status = int(group.main(arguments, name, obj=settings, standalone_mode=False) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()  # when the interpreter ends, it would be too late for words
        return status
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except click.ClickException as error:
        output.complain(_misuse(error, name), name)
    except SeveralFailedError as error:
        output.show_errors(error.causes, name)
    except ShifterError as error:
        output.show_errors([error], name)
    except OSError as error:  # all others were given words where they are known
        output.complain(f"cannot write the output: {error.strerror}", name)
    except Exception as error:
        output.complain("\n".join(defects.lines(error, os.environ)), name)
        return defects.STATUS
    return _FAILED


def _misuse(error: click.ClickException, name: str) -> str:
    """What click says of a command line, as one sentence like ours."""
    # click spreads choices over lines, begins with a capital and ends with a full stop.
    words = " ".join(error.format_message().split())
    words = words.removesuffix(".").replace(". Did you mean", "; did you mean")
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = name if context is None else context.command_path
    return f"{words[:1].lower()}{words[1:]} ({command} --help shows how)"


def _let_go(stream: TextIO | None) -> None:
    """What cannot be written would fail again when the interpreter ends, in words of its own."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
