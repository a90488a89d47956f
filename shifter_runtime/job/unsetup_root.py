# SPDX-License-Identifier: BSD-3-Clause
"""From `unsetupRoot …`, which a batch system's epilog runs, to a node without the container."""

from __future__ import annotations

from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import syscalls, trust
from shifter_runtime.errors import SetupError
from shifter_runtime.job import listing, options, removal, state
from shifter_runtime.job.caller import (
    answers_itself,
    end,
    require_root,
    say,
    show,
    take_known_surroundings,
)
from shifter_runtime.job.joining import NODE, called

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig

_PROGRAM = "unsetupRoot"


def main(config_path: str, words: list[str]) -> NoReturn:
    """Take down one container, or all; the exit code says whether anything is left."""

    def run_all() -> None:
        run(config_path, words)

    end(_PROGRAM, run_all, {})


def run(config_path: str, words: list[str]) -> None:
    """Stop, unmount and forget, in this order, and without being disturbed."""
    chosen = options.parse_unsetup(words)
    if answers_itself(_PROGRAM, chosen, options.UNSETUP_USAGE):
        return
    require_root()
    take_known_surroundings()
    for number in (syscalls.SIGHUP, syscalls.SIGINT, syscalls.SIGTERM):
        syscalls.ignore_signal(number)
    config = configs.parse(trust.read(config_path), config_path)
    if chosen.list:
        kept = listing.read(config)
        show(listing.as_json(kept) if chosen.json else listing.as_table(kept))
    elif chosen.all:
        _remove_all(config, verbose=chosen.verbose)
    else:
        _remove(chosen.job, config, verbose=chosen.verbose)


def _remove_all(config: RuntimeConfig, *, verbose: bool) -> None:
    """Every container, whatever becomes of the others; the node's last, which clears udiMount."""
    problems = []
    for name in [*(name for name in state.names() if name != NODE), NODE]:
        try:
            _remove(name, config, verbose=verbose)
        except (ShifterError, OSError) as error:
            problems.append(f"{called(name)}: {error}")
    if problems:
        raise SetupError("; ".join(problems))


def _remove(name: str, config: RuntimeConfig, *, verbose: bool) -> None:
    with state.Lock(name):
        if verbose:
            _tell(name)
        removal.remove(name, config)
    if verbose:
        say(_PROGRAM, f"nothing is left of a container for {called(name)}")


def _tell(name: str) -> None:
    record = state.read_record(name)
    whose = f"prepared for user {record.user}" if record else "is not there, or was left unfinished"
    say(_PROGRAM, f"the container for {called(name)} {whose}")
    for number, title in listing.processes_in(name):
        say(_PROGRAM, f"process {number} ({title!r}) is inside, and stays there")
