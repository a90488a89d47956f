# SPDX-License-Identifier: BSD-3-Clause
"""Asking for a registry login: on the terminal even where standard input is something else."""

from __future__ import annotations

import sys
import termios
from typing import TextIO

from shifter_cli.errors import CredentialFileError


def ask_login(location: str, username: str | None) -> tuple[str, str]:
    """User name and password as typed; prompts go to standard error, as the original's do."""
    try:
        terminal = open("/dev/tty", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    except OSError as error:
        raise CredentialFileError(
            f"there is no terminal to ask for the password ({error.strerror}): use "
            "--username NAME --password-stdin"
        ) from error
    with terminal:
        if username is None:
            username = _ask(terminal, f"{location} username: ")
        return username, _ask_hidden(terminal, f"{location} password: ")


def _ask(terminal: TextIO, prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = terminal.readline()
    if not line:
        raise CredentialFileError("nothing was typed, so no login is stored")
    return line.rstrip("\r\n")


def _ask_hidden(terminal: TextIO, prompt: str) -> str:
    before = termios.tcgetattr(terminal)
    hidden = termios.tcgetattr(terminal)
    hidden[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, hidden)
    try:
        return _ask(terminal, prompt)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        sys.stderr.write("\n")
        sys.stderr.flush()
