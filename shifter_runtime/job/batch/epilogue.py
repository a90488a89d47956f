# SPDX-License-Identifier: BSD-3-Clause
"""From `shifter-epilogue …` to a node without the job's container, if there was one."""

from __future__ import annotations

import os

from shifter_common import defects
from shifter_common.errors import ShifterError
from shifter_runtime.errors import SetupError
from shifter_runtime.job import unsetup_root
from shifter_runtime.job.batch import child, options, schedulers
from shifter_runtime.job.caller import (
    answers_itself,
    require_root,
    say,
    take_known_surroundings,
    words_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.job.batch.options import Options

_PROGRAM = "shifter-epilogue"


def main(config_path: str, words: list[str]) -> NoReturn:
    """Take down the container of one job; the exit status is what the site wants it to be."""
    chosen = options.Options()
    environment = dict(os.environ)
    try:
        options.parse(words, chosen, epilogue=True)
        run(config_path, chosen, environment)
        status = 0
    except (ShifterError, OSError) as error:
        say(_PROGRAM, options.shortened(words_of(error)))
        status = chosen.fail_status
    except Exception as error:
        say(_PROGRAM, "\n".join(defects.lines(error, environment)))
        status = chosen.fail_status
    os._exit(status)


def run(config_path: str, chosen: Options, environment: dict[str, str]) -> None:
    if answers_itself(_PROGRAM, chosen, options.EPILOGUE_USAGE):
        return
    require_root()
    take_known_surroundings()
    child.keep_standard_descriptors()
    job = schedulers.job_of(chosen, environment)
    status = child.run(lambda: unsetup_root.main(config_path, [f"--job={job}"]), chosen.timeout)
    if status != 0:
        late = f" within {chosen.timeout} seconds" if status is None else ""
        raise SetupError(
            f"the container of job {job} could not be taken down on {os.uname().nodename}{late}: "
            f"find out why, and run unsetupRoot --job={job}"
        )
