# SPDX-License-Identifier: BSD-3-Clause
"""Whether a registry can be reached and is one, asked as nobody."""

from __future__ import annotations

import contextlib

from shifter_imagegw.registry.endpoint import Endpoint
from shifter_imagegw.registry.status import status_error
from shifter_imagegw.registry.transport import Timeout, Transport

# What `/v2/` answers: yes, or that it wants to know who asks.
_REGISTRIES_SAY = (200, 401, 403)


def require_registry(endpoint: Endpoint, timeout: Timeout = (5, 10)) -> None:
    """Raise RegistryError where nobody answers, or somebody who is no registry."""
    with contextlib.closing(Transport(endpoint, timeout)) as transport:
        answer = transport.get(endpoint.api(""), {})
        with answer:
            if answer.status not in _REGISTRIES_SAY:
                raise status_error(
                    answer,
                    f"{endpoint.label} does not answer as a registry",
                    "check the location's url",
                )
