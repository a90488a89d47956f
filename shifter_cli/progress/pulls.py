# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for images: ask about each until it is ready or has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from shifter_cli import output
from shifter_cli.errors import (
    GatewayRefusalError,
    GatewayUnreachableError,
    NotReadyError,
    PullFailedError,
)
from shifter_cli.gateway.records import FAILURE, IN_FLIGHT, MISSING, READY, ImageRecord
from shifter_cli.progress.forms import Progress
from shifter_common.errors import ShifterError
from shifter_common.reference import ImageReference

# A small image is ready at once; for a large one the original's half second is often enough.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 0.5
_PAUSE_GROWTH = 1.02  # so by a fiftieth of the time waited so far

# In which the gateway works on an image, so that it may fail in them.
_STAGES = IN_FLIGHT - {MISSING, "INIT", "PENDING"}

# A gateway that is being restarted loses no pull, so neither does who waits for one.
_PATIENCE = 60.0
_PASSING_STATUS = frozenset({502, 503, 504})


def wait(
    ask: Callable[[ImageReference], ImageRecord],
    references: Sequence[ImageReference],
    display: Progress,
) -> None:
    """Have images pulled and show how far they are, until all are settled.

    Raises `PullFailedError` unless all are ready then.
    """
    failures = []
    stages: dict[ImageReference, str] = {}
    try:
        for reference, result in follow(ask, references):
            if isinstance(result, ImageRecord):
                if result.is_in_flight:
                    stages[reference] = result.state
                display.show(reference, result)
            else:
                display.give_up(reference)
            if failure := failure_of(reference, result, stages.get(reference, "")):
                failures.append(failure)
    except KeyboardInterrupt:
        display.interrupted()
        output.complain(
            "stopped waiting; the pull goes on at the gateway: the same command follows it, "
            f"shifterimg cancel {references[0]} ends it"
        )
        raise
    if failures:
        raise PullFailedError(failures)


def follow(
    ask: Callable[[ImageReference], ImageRecord],
    references: Sequence[ImageReference],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[ImageReference, ImageRecord | ShifterError]]:
    """Each answer of the gateway about each image, until all are settled.

    All images are asked for before the first is waited for, so that the gateway works on them at
    the same time. An error ends the waiting for its image, not for the others; once a pull is
    known to run, a gateway that cannot be reached is tried again for a minute.
    """
    answered: dict[ImageReference, float] = {}
    waiting = list(dict.fromkeys(references))
    pause = _FIRST_PAUSE
    while waiting:
        for reference in tuple(waiting):
            try:
                record = ask(reference)
            except ShifterError as error:
                if _is_passing(error) and clock() - answered.get(reference, -_PATIENCE) < _PATIENCE:
                    continue
                waiting.remove(reference)
                yield reference, error
                continue
            answered[reference] = clock()
            if not record.is_in_flight:
                waiting.remove(reference)
            yield reference, record
        if waiting:
            sleep(pause)
            pause = min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE)


def failure_of(
    reference: ImageReference, result: ImageRecord | ShifterError, stage: str = ""
) -> ShifterError | None:
    """Why an image will not be ready, and how far it came; None while open, or when it is."""
    if isinstance(result, ShifterError):
        return result
    if result.state == READY or result.is_in_flight:
        return None
    if result.state != FAILURE:
        return NotReadyError(f"{reference}: the gateway says {result.state}, so it is not ready")
    if result.message in ("", "FAILED", FAILURE):
        return NotReadyError(f"{reference}: the pull failed, and the gateway did not say why")
    how_far = f"{stage} failed: " if stage in _STAGES else ""
    return NotReadyError(f"{reference}: {how_far}{result.message}")


def _is_passing(error: ShifterError) -> bool:
    if isinstance(error, GatewayRefusalError):
        return error.status in _PASSING_STATUS
    return isinstance(error, GatewayUnreachableError)
