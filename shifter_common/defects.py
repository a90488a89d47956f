# SPDX-License-Identifier: BSD-3-Clause
"""What a person reads when the fault is Shifter's own: one sentence, and where it was if asked for.

Every program has this for its last resort, so that nobody meets a traceback. What can be foreseen
is a `ShifterError`, with words of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS = 70  # EX_SOFTWARE of sysexits.h; no other failure ends a program of ours with it
VARIABLE = "SHIFTER_DEBUG"

_MOST_PLACES = 60


def lines(error: BaseException, environment: Mapping[str, str]) -> list[str]:
    """The sentence; with SHIFTER_DEBUG set in `environment`, a line for each place on the way."""
    what = type(error).__name__
    text = " ".join(str(error).split())
    what = f"{what}: {text}" if text else what
    if not environment.get(VARIABLE):
        return [f"a defect of Shifter ended this ({what}): report it, with what {VARIABLE}=1 adds"]
    return [
        f"a defect of Shifter ended this ({what}): report it, with these lines",
        *_places(error),
    ]


def _places(error: BaseException) -> list[str]:
    """As a traceback, the latest call last, but without the `traceback` that root does not load."""
    found = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    before = error.__cause__ or error.__context__
    if before is not None:
        found.append(f"  after {type(before).__name__}: {' '.join(str(before).split())}")
        found += _places(before)
    return found[-_MOST_PLACES:]
