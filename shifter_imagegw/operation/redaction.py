# SPDX-License-Identifier: BSD-3-Clause
"""No secret in the log, whatever a library, a registry or a defect puts into a line.

This is the second line of defence: our own call sites name no secret to begin with.
"""

from __future__ import annotations

import base64
import collections
import re
import threading
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "***"

_SHORTEST = 4  # characters; to hide less would blot out words and tell the secret's length
_MOST = 1000  # secrets of pulls long ended are forgotten

# Repetitions are bounded, so that no text, however long, takes time that grows with its square.
_PATTERNS = (
    # scheme://user:password@host
    (re.compile(r"([a-z0-9+.-]{1,20}://)[^/?#\s\"'<>]*@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # Authorization: Basic dXNlcjpwYXNz, also as a dictionary shows it
    (
        re.compile(
            r"((?:proxy-)?authorization[\"']?\s{0,4}[:=]\s{0,4}(?:b?[\"'])?"
            r"(?:(?:basic|bearer)\s{1,4})?)"
            r"[^\s\"',;}]+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(r"\b((?:basic|bearer)\s{1,4})(?=[^\s0-9=]*[0-9=])[\w+/=.~-]{8,}", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # a munge credential, which opens doors until it has been used or is some minutes old
    (re.compile(r"MUNGE:[\w+/=-]+:?"), f"MUNGE:{HIDDEN}"),
    # signed addresses of blobs
    (
        re.compile(
            r"([?&][\w.-]{0,40}(?:token|signature|credential|password|secret|sig)=)[^&\s\"']+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # {"token": "…"}, as token servers answer
    (
        re.compile(
            r"([\"'](?:[a-z_]{0,20}token|password|secret)[\"']\s{0,4}:\s{0,4}[\"'])[^\"']+",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


def without_secrets(text: object) -> str:
    """A text with all hidden that looks like a secret."""
    shown = str(text)
    for pattern, replacement in _PATTERNS:
        shown = pattern.sub(replacement, shown)
    return shown


class Redactor:
    """Hides what looks like a secret, and what it was told is one."""

    def __init__(self) -> None:
        self._known: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._changing = threading.Lock()

    def learn(self, logins: Iterable[str]) -> None:
        """Hide these `user:password` texts from now on, in each form in which they travel."""
        with self._changing:
            for form in (form for login in logins for form in _forms_of(login)):
                self._known[form] = None
                self._known.move_to_end(form)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)

    def redact(self, text: str) -> str:
        text = without_secrets(text)
        with self._changing:
            known = sorted(self._known, key=len, reverse=True)  # one may be a part of another
        for secret in known:
            text = text.replace(secret, HIDDEN)
        return text


def _forms_of(login: str) -> Iterable[str]:
    _, separator, password = login.partition(":")
    if not separator:
        password = login
    forms = {password, quote(password, safe=""), quote_plus(password), repr(password)[1:-1]}
    if separator:
        forms.add(base64.b64encode(login.encode()).decode())
    return (form for form in forms if len(form) >= _SHORTEST)
