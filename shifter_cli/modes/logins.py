# SPDX-License-Identifier: BSD-3-Clause
"""Logins to registries."""

from __future__ import annotations

import sys

import click

from shifter_cli import credentials, prompts
from shifter_cli.session import Session


@click.command(short_help="Store a registry login for your pulls.")
@click.argument("location", default="default")
@click.option("--username", help="Do not ask for the user name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.pass_obj
def login(session: Session, location: str, username: str | None, password_stdin: bool) -> None:
    """Store a registry login for your pulls, in ~/.udiRoot/.cred.

    LOCATION is the registry as the gateway knows it; without one, the login is for all of them.
    """
    if not password_stdin:
        username, password = prompts.ask_login(location, username)
    elif username is None:
        raise click.UsageError("--password-stdin needs --username NAME")
    elif sys.stdin is None:
        raise click.UsageError("--password-stdin finds standard input closed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    credentials.require_login(location, username, password)
    credential = session.encode(f"{username}:{password}".encode("utf-8", "surrogateescape"))
    credentials.CredentialFile.of_caller().store(session.config.system, location, credential)


@click.command(short_help="Forget a registry login.")
@click.argument("location", default="default")
@click.pass_obj
def logout(session: Session, location: str) -> None:
    """Forget a registry login."""
    credentials.CredentialFile.of_caller().remove(session.config.system, location)
