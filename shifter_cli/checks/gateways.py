# SPDX-License-Identifier: BSD-3-Clause
"""munge, and the gateways of imageGateway: does each answer and know us, and is its clock right."""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from shifter_cli.checks import Matter, ok, skipped, warning, wrong
from shifter_cli.gateway.exchange import Answer, cause, exchange
from shifter_common import munge
from shifter_common.errors import MungeError, ShifterError
from shifter_runtime.config import RuntimeConfig

_PATIENCE = 20.0  # seconds for a request
_ODD = 30.0  # seconds between two clocks that somebody should look after
_TOO_FAR = 240.0  # a credential of munge is good for 300


def munge_daemon(config: RuntimeConfig) -> Iterator[Matter]:
    """Make a credential, and open it."""
    socket = config.munge_socket or None
    try:
        credential = munge.encode(b"shifter-admin check", socket=socket)
        opened = munge.decode(credential, socket=socket)
    except MungeError as error:
        advice = ""
        if error.code in (munge.SOCKET, munge.TIMEOUT):
            advice = f": start {'munged there' if socket else 'it (systemctl start munge)'}"
        yield wrong("munge", f"{error}{advice}")
        return
    if opened.uid != os.getuid():
        yield wrong("munge", f"munge takes user {os.getuid()} for {opened.uid}: look after munged")
        return
    yield ok("munge", f"makes and opens credentials at {socket or 'its usual socket'}")


def gateways(config: RuntimeConfig) -> Iterator[Matter]:
    if not config.image_gateway:
        yield skipped("gateway", "imageGateway is not set: images are found in the index only")
        return
    for url in config.image_gateway:
        yield from _gateway(url, config)


def _gateway(url: str, config: RuntimeConfig) -> Iterator[Matter]:
    name = f"gateway {_without_login(url)}"
    try:
        ready = _ask(url, "/readyz", "")
    except ShifterError as error:
        yield wrong(name, str(error))
        return
    except (OSError, http.client.HTTPException) as error:
        yield wrong(
            name,
            f"does not answer: {cause(error)}: check that the gateway runs, its --bind, and the "
            "firewall between",
        )
        return
    yield from _readiness(name, ready)
    yield from _clock(name, ready.date)
    yield from _acceptance(name, url, config)


def _readiness(name: str, ready: Answer) -> Iterator[Matter]:
    if ready.status == 404:
        yield warning(name, "answers, and does not say whether it is ready: an original's gateway?")
        return
    try:
        content: Any = json.loads(ready.text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        yield wrong(name, f"answers as no image gateway does ({ready.status}): check imageGateway")
        return
    missing = _reasons(content.get("missing"))
    late = _reasons(content.get("late"))
    for part, reason in missing:
        yield wrong(name, f"{part}: {reason}")
    for system, reason in late:
        yield warning(name, f"{system}: {reason}")
    if not missing and ready.status == 200:
        yield ok(name, "answers, and is ready")
    elif not missing:
        yield wrong(name, f"is not ready ({ready.status}): look into its log")


def _reasons(value: object) -> list[tuple[str, str]]:
    return [(str(k), str(v)) for k, v in value.items()] if isinstance(value, dict) else []


def _clock(name: str, date: str) -> Iterator[Matter]:
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        yield skipped(name, "its clock: it does not tell the time")
        return
    # It tells whole seconds only.
    apart = abs(time.time() - theirs - 0.5)
    if apart >= _TOO_FAR:
        yield wrong(
            name,
            f"its clock and this node's are {apart:.0f} s apart, and munge credentials are good "
            "for 300: set both by NTP",
        )
    elif apart >= _ODD:
        yield warning(name, f"its clock and this node's are {apart:.0f} s apart: set both by NTP")
    else:
        yield ok(name, "its clock agrees with this node's")


def _acceptance(name: str, url: str, config: RuntimeConfig) -> Iterator[Matter]:
    """Whether it takes our credential, and knows the system."""
    path = f"/api/queue/{urllib.parse.quote(config.system, safe='')}/"
    try:
        credential = munge.encode(socket=config.munge_socket or None)
        answer = _ask(url, path, credential)
    except MungeError:
        yield skipped(name, "whether it accepts credentials of this node: munge makes none")
        return
    except (OSError, http.client.HTTPException) as error:
        yield wrong(name, f"broke off: {cause(error)}")
        return
    reason = _reason(answer)
    if answer.status == 200:
        yield ok(name, f"knows system {config.system!r}, and accepts credentials of this node")
    elif answer.status == 401:
        yield wrong(
            name,
            f"does not accept a credential of this node: {reason}: both hosts need the same "
            "munge.key, and clocks that agree",
        )
    elif answer.status == 404:
        yield wrong(
            name,
            f"{reason}: `system` in udiRoot.conf must be one of Platforms in imagemanager.json",
        )
    else:
        yield wrong(name, f"{reason} ({answer.status})")


def _reason(answer: Answer) -> str:
    try:
        return str(json.loads(answer.text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"it answered {answer.status} {answer.reason}"


def _ask(url: str, path: str, credential: str) -> Answer:
    return exchange(url, "GET", path, credential, b"", _PATIENCE)


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
