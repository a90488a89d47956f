# SPDX-License-Identifier: BSD-3-Clause
"""How a Celery worker waits for its broker: it tries every second, however long it takes.

Celery's own pauses grow to half a minute, for which pulls would wait when Redis is back.
"""

from __future__ import annotations

import functools
from typing import Any

from celery.worker.consumer import Consumer


class PatientConsumer(Consumer):  # type: ignore[misc]
    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=1, interval_step=0, interval_max=1
        )
        return super().ensure_connected(conn)
