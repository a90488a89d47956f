# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway`: run the gateway, look at its configuration, put its house in order."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

import click

from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_imagegw.commands.cache import cache
from shifter_imagegw.commands.check import check as check_host
from shifter_imagegw.commands.config_check import check
from shifter_imagegw.commands.config_show import show
from shifter_imagegw.commands.gc import gc
from shifter_imagegw.commands.index import index
from shifter_imagegw.commands.jobs import queue, release
from shifter_imagegw.commands.key import key
from shifter_imagegw.commands.metrics import metrics_command
from shifter_imagegw.commands.migrate import migrate
from shifter_imagegw.commands.orphans import orphans_command
from shifter_imagegw.commands.serve import api, serve
from shifter_imagegw.commands.status import status

_NAME = "shifter-gateway"


class _Complaint(click.ClickException):
    """What failed, in the form that all our programs have."""

    def show(self, file: IO[Any] | None = None) -> None:
        _complain(self.message)


class _Misuse(_Complaint):
    exit_code = click.UsageError.exit_code


class GatewayGroup(click.Group):
    """Ends with a sentence on standard error where something fails, and never with a traceback."""

    def main(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - click's own
        try:
            return super().main(*arguments, **options)
        except SystemExit as end:
            sys.exit(end.code if _is_written() else 1)
        except OSError as error:  # all others were given words where they are known
            if _is_written():  # which has told it otherwise
                _complain(f"cannot write the output: {error.strerror}")
            sys.exit(1)
        except Exception as error:
            _complain("\n".join(defects.lines(error, os.environ)))
            sys.exit(defects.STATUS)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:  # noqa: ANN401
        with _in_our_words():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> object:
        with _in_our_words():
            return super().invoke(ctx)


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except ShifterError as error:
        raise _Complaint(str(error)) from error
    except click.exceptions.NoArgsIsHelpError:  # which shows the help
        raise
    except click.UsageError as error:
        # click spreads choices over lines, begins with a capital and ends with a full stop.
        words = " ".join(error.format_message().split()).removesuffix(".")
        asked = error.ctx.command_path if error.ctx is not None else _NAME
        raise _Misuse(f"{words[:1].lower()}{words[1:]} ({asked} --help shows how)") from error
    except _Complaint:
        raise
    except click.ClickException as error:
        raise _Complaint(error.format_message()) from error


def _is_written() -> bool:
    """Whether all output found its way; what did not is told here, and forgotten."""
    written = True
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout:
                written = False
                _complain(f"cannot write the output: {error.strerror}")
            # It would fail again when the interpreter ends, in words of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return written


def _complain(text: str) -> None:
    if sys.stderr is not None:  # closed by the caller
        with contextlib.suppress(OSError):
            for line in text.splitlines():
                print(f"{_NAME}: {line}", file=sys.stderr, flush=True)


_EXIT_STATUS = """\
Exit status: 0 when all is well, 1 when something is wrong or could not be done, 2 when the command
line is not understood. shifter-gateway COMMAND --help tells all about one command.
"""


@click.group(
    cls=GatewayGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_STATUS,
)
def main() -> None:
    """Shifter's image gateway: fetches images, converts them, and delivers them to systems.

    \b
    Examples:
      shifter-gateway config check --config /etc/shifter/imagemanager.json
      shifter-gateway serve --bind 0.0.0.0:5000 --workers 4
      shifter-gateway status
    """


@main.group()
def config() -> None:
    """Look at a configuration."""


config.add_command(check)
config.add_command(show)
for command in (
    *(serve, api, check_host, index, gc, migrate),
    *(status, queue, release, orphans_command, cache, metrics_command, key),
):
    main.add_command(command)
