# SPDX-License-Identifier: BSD-3-Clause
"""How a Celery worker does without its broker for a while, however long that is."""

from __future__ import annotations

import functools
import inspect
import select
from typing import Any

from celery.worker import loops
from celery.worker.consumer import Consumer

_REST_MILLISECONDS = 1000

# What kombu raises for a message of which it can make nothing; it would end the worker.
_NO_MESSAGE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which tries every second to connect.

    Celery's own pauses grow to half a minute, for which pulls would wait when Redis is back.
    """

    connection_errors: tuple[type[BaseException], ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.loop = _loop_that_reads_to_the_end
        super().__init__(*args, **kwargs)
        # A message is gone that was read: what comes after it is waited for anew.
        self.connection_errors = (*self.connection_errors, *_NO_MESSAGE)

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=1, interval_step=0, interval_max=1
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        # Else kombu tries to put messages back over the connection that is lost, and to acknowledge
        # over it what ends later, and meets errors that end the worker. What it would have said is
        # of no use: the sweep sends again what is missing, and a message too many does no harm.
        for channel in getattr(self.connection.transport, "channels", None) or ():
            channel.do_restore = False
            channel.basic_ack = channel.basic_reject = _say_nothing
        super().on_connection_error_after_connected(exc)


def _say_nothing(*_: object, **__: object) -> None:
    """For a channel whose connection is lost."""


def _loop_that_reads_to_the_end(  # the parameters are Celery's
    obj: Any,  # noqa: ANN401
    connection: Any,  # noqa: ANN401
    consumer: Any,  # noqa: ANN401
    blueprint: Any,  # noqa: ANN401
    hub: Any,  # noqa: ANN401
    *more: Any,  # noqa: ANN401
    **named: Any,  # noqa: ANN401
) -> None:
    """Celery's event loop, which an error ends in the middle of anything.

    It would forget the half that it has read of what a child says about its job, and wait for the
    end of the other half ever after: no job would be given to that child any more.
    """
    reset = hub.reset

    def read_to_the_end_and_reset() -> None:
        try:
            for descriptor, (reader, _) in list(hub.readers.items()):
                if inspect.isgenerator(reader):
                    _read_to_the_end(reader, descriptor)
        finally:
            reset()

    hub.reset = read_to_the_end_and_reset
    try:
        loops.asynloop(obj, connection, consumer, blueprint, hub, *more, **named)
    finally:
        hub.reset = reset


def _read_to_the_end(reader: Any, descriptor: int) -> None:  # noqa: ANN401
    """What is missing is being written just now; a child that has died writes no more."""
    rest = select.poll()  # select() knows no descriptor above 1023
    rest.register(descriptor, select.POLLIN)
    while rest.poll(_REST_MILLISECONDS):
        try:
            next(reader)
        except (StopIteration, OSError, EOFError):
            return
