# SPDX-License-Identifier: BSD-3-Clause
"""How a Celery worker does without its broker for a while, however long that is."""

from __future__ import annotations

import functools
from typing import Any

from celery.worker.consumer import Consumer

# What kombu raises for a message of which it can make nothing; it would end the worker.
_NO_MESSAGE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which tries every second to connect.

    Celery's own pauses grow to half a minute, for which pulls would wait when Redis is back.
    """

    connection_errors: tuple[type[BaseException], ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
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
