# SPDX-License-Identifier: BSD-3-Clause
"""The image gateway as an administrator sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shifter_cli.errors import GatewayAnswerError
from shifter_cli.gateway.client import GatewayClient
from shifter_cli.gateway.exchange import Answer
from shifter_common import munge
from shifter_common.reference import ImageReference
from shifter_runtime.config import RuntimeConfig

Row = Mapping[str, Any]

# What is counted with, so that it must be a number where it is there at all.
_NUMBERS = frozenset(
    (
        *("bytes", "failures", "images", "in_flight", "last_pull", "lookups", "pulls", "uid"),
        *("attempts", "bytes_done", "bytes_total", "puller", "since", "users"),
    )
)


class AdminClient(GatewayClient):
    """Asks what only administrators may; others are refused with the gateway's words."""

    def jobs(self) -> list[Row]:
        """Every pull, import and removal that has not ended well, as the gateway describes it."""
        return self._rows("queue", f"cannot list the jobs of {self._system}")

    def users(self) -> list[Row]:
        """What each user's images take."""
        return self._rows("users", f"cannot list the users of {self._system}")

    def stats(self, days: int) -> Row:
        """The usage history of the last days."""
        failing = f"cannot show what was used on {self._system}"
        answer = self._ask_any("GET", failing, f"{self._path('stats')}?days={days}")
        found = dict(_object(answer))
        for name in ("days", "top_images", "top_users"):
            rows = found.get(name)
            if rows is not None or name != "top_users":  # null: not for this caller
                found[name] = [_row(row) for row in _list(rows) if isinstance(row, dict)]
        totals = found.get("totals")
        return found | {"totals": _row(totals) if isinstance(totals, dict) else {}}

    def requeue(self, reference: ImageReference) -> Row:
        """Start a job that failed, or that is stuck, again."""
        path = self._path("requeue", reference)
        return _object(self._ask_any("POST", f"cannot requeue {reference}", path))

    def _rows(self, verb: str, failing: str) -> list[Row]:
        answer = self._ask_any("GET", failing, self._path(verb))
        rows = _object(answer).get("list")
        if not isinstance(rows, list):
            raise GatewayAnswerError(f"the image gateway {answer.url} answered without a list")
        return [_row(row) for row in rows if isinstance(row, dict)]


def connect(config: RuntimeConfig) -> AdminClient:
    return AdminClient(
        config.image_gateway,
        config.system,
        encode=lambda payload: munge.encode(payload, socket=config.munge_socket or None),
        timeout=config.gateway_timeout,
    )


def _object(answer: Answer) -> Row:
    try:
        content = json.loads(answer.text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise GatewayAnswerError(f"the image gateway {answer.url} did not answer with an object")
    return content


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _row(found: dict[str, Any]) -> Row:
    """Without what an odd gateway has in place of numbers."""
    return {
        name: None if name in _NUMBERS and not _is_number(value) else value
        for name, value in found.items()
    }


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) < float("inf")
