# SPDX-License-Identifier: BSD-3-Clause
"""Why a launch does not join what was prepared for its job, for those who ask with --verbose."""

from __future__ import annotations

import os

from shifter_runtime.job import joining, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity
    from shifter_runtime.request import Request


def of(description: str, request: Request, user: Identity, config: RuntimeConfig) -> Iterator[str]:
    """A line for each container that the launch might have joined.

    `description` is the shifterConfig.json of the container that it would join.
    """
    for name in joining.names(request.environment):
        directory = f"{joining.STATE_DIRECTORY}/{name}"
        try:
            fd = os.open(f"{directory}/{joining.RECORD}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        found = record.read(fd)
        reason = (
            _of_owner(found, user)
            or _of_options(request)
            or _of_parts(found, description)
            or _of_place(found, directory, config)
        )
        yield f"not joining the container prepared for {joining.called(name)}: {reason}"


def _of_owner(found: record.Record | None, user: Identity) -> str:
    if found is None:
        return "another release of Shifter prepared it"
    return "" if found.uid == user.uid else "it was prepared for another user"


def _of_options(request: Request) -> str:
    given = {
        "--writable": request.writable is not None,
        "--mount": bool(request.tmpfs),
        "--no-mount": bool(request.no_mounts),
    }
    names = " and ".join(name for name, is_given in given.items() if is_given)
    return f"{names}: such a launch always makes its own" if names else ""


def _of_parts(found: record.Record | None, description: str) -> str:
    theirs = found.parts() if found else ("", "", "")
    pairs = zip(
        ("image is", "volumes are", "modules are"),
        theirs,
        record.parts_of(description),
        strict=True,
    )
    return ", and ".join(
        f"its {what} {_shown(one)}, not {_shown(other)}"
        for what, one, other in pairs
        if one != other
    )


def _of_place(found: record.Record | None, directory: str, config: RuntimeConfig) -> str:
    if found is None or found.processes != record.own_processes():
        return "it shows other processes than this launch is among (another pid namespace)"
    if found.device and record.device_at(config.udi_mount) != found.device:
        return f"somebody unmounted it from {config.udi_mount}"
    return "it is just being taken down"


def _shown(text: str) -> str:
    return text.rstrip(",") or "none"
