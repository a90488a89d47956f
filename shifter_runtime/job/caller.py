# SPDX-License-Identifier: BSD-3-Clause
"""Whoever runs setupRoot or unsetupRoot must be root, brings nothing along, and gets an answer."""

from __future__ import annotations

import os

from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_runtime import VERSION, identity, process_calls
from shifter_runtime.errors import NotPermittedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from shifter_runtime.job.batch.options import Options as BatchOptions
    from shifter_runtime.job.options import Options

_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130
_ENVIRONMENT = {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL": "C"}


def end(
    program: str, run: Callable[[], None], statuses: Mapping[type[ShifterError], int]
) -> NoReturn:
    """Run, and end this process with the exit code that says how it went; some errors have one."""
    environment = dict(os.environ)
    try:
        run()
        status = 0
    except UsageError as error:
        say(program, f"{error}; {program} --help says more")
        status = _WRONG_USAGE
    except (ShifterError, OSError) as error:
        say(program, words_of(error))
        own = [code for kind, code in statuses.items() if isinstance(error, kind)]
        status = own[0] if own else _FAILED
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except Exception as error:
        say(program, "\n".join(defects.lines(error, environment)))
        status = defects.STATUS
    os._exit(status)


def words_of(error: ShifterError | OSError) -> str:
    """The text of an error of ours; what the system refused, in its words."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"cannot use {error.filename}: {error.strerror}" if error.filename else error.strerror


def answers_itself(program: str, chosen: Options | BatchOptions, usage: str) -> bool:
    """Show usage or version, where that is what was asked for; whether it was."""
    if chosen.help:
        show(usage)
    elif chosen.version:
        show(f"{program} (Shifter) {VERSION}\n")
    return chosen.help or chosen.version


def require_root() -> None:
    """Refuse anybody else: for users, there is `shifter`."""
    if os.getresuid() != (0, 0, 0):
        raise NotPermittedError("must be run by root, for instance by the batch system's prolog")


def take_known_surroundings() -> None:
    """Go on as if started from nowhere: environment, directory, umask and groups of our own."""
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    os.chdir("/")
    os.umask(0o022)
    identity.keep_death_signal(process_calls.death_signal())
    identity.hide()


def say(program: str, text: str) -> None:
    """One line on stderr; that nobody may listen changes nothing."""
    try:
        os.write(2, f"{program}: {text}\n".encode("utf-8", "surrogateescape"))
    except OSError:
        return


def show(text: str) -> None:
    """Write all of it to stdout."""
    content = text.encode("utf-8", "surrogateescape")
    while content:
        content = content[os.write(1, content) :]
