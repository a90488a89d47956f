# SPDX-License-Identifier: BSD-3-Clause
"""What browsers are told about every answer of the page: what they may load, keep and tell others.

Names of images, labels and reasons of failures come from strangers. They are escaped where they
are written; should one slip through, nothing on the page may run but the page's own script.
"""

from __future__ import annotations

from flask import Response

_MAY_LOAD = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": _MAY_LOAD,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def secured(response: Response) -> Response:
    """The answer with all of them; nobody keeps a copy, unless it says that one may."""
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Vary"] = "Cookie"
    return response
