# SPDX-License-Identifier: BSD-3-Clause
"""Credential helpers, as docker has them: `docker-credential-NAME get` and `list`.

A helper is a program of the user's, run as the user: the name of a registry goes to its standard
input, and JSON comes from its standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Mapping

from shifter_cli.errors import CredentialHelperError
from shifter_cli.logins.config_file import IDENTITY_TOKEN

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATIENCE = 20.0  # seconds; one may ask the user to open a keyring
_LONGEST_ANSWER = 1 << 16
_NOT_FOUND = "credentials not found"  # how all helpers begin to say that they have none


def login_of(name: str, key: str) -> str | None:
    """`user:password` of a registry, or None where the helper has no login for it."""
    status, answer = _run(name, "get", key)
    if status != 0:
        if answer.strip().lower().startswith(_NOT_FOUND):
            return None
        words = " ".join(answer.split())[:200] or f"it ended with status {status}"
        raise CredentialHelperError(f"docker-credential-{name} has no login for {key}: {words}")
    fields = _object(name, answer)
    user, secret = fields.get("Username"), fields.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str) or not user or not secret:
        raise CredentialHelperError(f"docker-credential-{name} gave no user and secret for {key}")
    if user == IDENTITY_TOKEN:
        raise CredentialHelperError(
            f"docker-credential-{name} has an identity token for {key}, which cannot be used here"
        )
    return f"{user}:{secret}"


def users_of(name: str) -> Mapping[str, str]:
    """Whom the helper has logins of: user names by registry."""
    status, answer = _run(name, "list", "")
    if status != 0:
        raise CredentialHelperError(f"docker-credential-{name} does not list what it has")
    return {key: user for key, user in _object(name, answer).items() if isinstance(user, str)}


def _run(name: str, verb: str, text: str) -> tuple[int, str]:
    program = _find(name)
    try:
        process = subprocess.Popen(
            [program, verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise CredentialHelperError(f"cannot run {program}: {error.strerror}") from error
    with process:
        try:
            answer = _converse(process, program, text)
            return process.wait(_PATIENCE), answer
        except subprocess.TimeoutExpired:
            raise CredentialHelperError(_too_slow(program)) from None
        finally:
            process.kill()  # nothing happens to one that has ended


def _converse(process: subprocess.Popen[bytes], program: str, text: str) -> str:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it did not want to know
        process.stdin.write(text.encode("utf-8", "surrogateescape"))
        process.stdin.close()
    deadline = time.monotonic() + _PATIENCE
    answer = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise CredentialHelperError(_too_slow(program))
        piece = os.read(process.stdout.fileno(), _LONGEST_ANSWER)
        if not piece:
            return answer.decode("utf-8", "surrogateescape")
        answer += piece
        if len(answer) > _LONGEST_ANSWER:
            raise CredentialHelperError(f"{program} says more than a login takes")


def _find(name: str) -> str:
    """The helper's path. Directories that are no absolute paths mean something else everywhere."""
    if not _NAME.fullmatch(name):
        raise CredentialHelperError(f"{name!r} cannot be the name of a credential helper")
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(directory, f"docker-credential-{name}")
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise CredentialHelperError(f"there is no docker-credential-{name} in PATH")


def _object(name: str, answer: str) -> Mapping[str, object]:
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise CredentialHelperError(f"docker-credential-{name} did not answer with a JSON object")
    return fields


def _too_slow(program: str) -> str:
    return f"{program} gave no answer in {_PATIENCE:.0f} seconds"
