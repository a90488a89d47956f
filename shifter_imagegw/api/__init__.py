# SPDX-License-Identifier: BSD-3-Clause
"""The REST interface: HTTP in, JSON out, and the processes that serve it."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """`app` is the application, as the units of old sites call it: `shifter_imagegw.api:app`."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shifter_imagegw.wsgi import application

    return application
