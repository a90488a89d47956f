# SPDX-License-Identifier: BSD-3-Clause
"""From `unsetupRoot …`, which a batch system's epilog runs, to a node without the container."""

from __future__ import annotations

import os

from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import syscalls, trust
from shifter_runtime.errors import UsageError
from shifter_runtime.job import options, removal, state
from shifter_runtime.job.caller import require_root, say, take_known_surroundings
from shifter_runtime.job.joining import called

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PROGRAM = "unsetupRoot"
_FAILED, _WRONG_USAGE = 1, 2


def main(config_path: str, words: list[str]) -> NoReturn:
    """Take down one container; the exit code says whether anything is left."""
    try:
        run(config_path, words)
        status = 0
    except UsageError as error:
        say(_PROGRAM, f"{error}; unsetupRoot --help says more")
        status = _WRONG_USAGE
    except (ShifterError, OSError) as error:
        say(_PROGRAM, str(error))
        status = _FAILED
    os._exit(status)


def run(config_path: str, words: list[str]) -> None:
    """Stop, unmount and forget, in this order, and without being disturbed."""
    chosen = options.parse_unsetup(words)
    if chosen.help:
        os.write(1, options.UNSETUP_USAGE.encode())
        return
    require_root()
    take_known_surroundings()
    for number in (syscalls.SIGHUP, syscalls.SIGINT, syscalls.SIGTERM):
        syscalls.ignore_signal(number)
    config = configs.parse(trust.read(config_path), config_path)
    with state.Lock(chosen.job):
        if chosen.verbose:
            _tell(chosen.job)
        removal.remove(chosen.job, config)
    if chosen.verbose:
        say(_PROGRAM, f"nothing is left of a container for {called(chosen.job)}")


def _tell(name: str) -> None:
    record = state.read_record(name)
    whose = f"prepared for user {record.user}" if record else "is not there, or was left unfinished"
    say(_PROGRAM, f"the container for {called(name)} {whose}")
    for number, title in removal.processes_in(name):
        say(_PROGRAM, f"process {number} ({title!r}) is inside, and stays there")
