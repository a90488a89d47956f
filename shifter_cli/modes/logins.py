# SPDX-License-Identifier: BSD-3-Clause
"""Logins to registries: trying and keeping one, naming all, forgetting them."""

from __future__ import annotations

import sys

import click

from shifter_cli import output
from shifter_cli.errors import (
    GatewayAnswerError,
    GatewayRefusalError,
    GatewayTooOldError,
    GatewayUnreachableError,
    LoginRefusedError,
)
from shifter_cli.gateway.registry_records import AcceptedLogin
from shifter_cli.logins import credentials, prompts
from shifter_cli.modes.options import json_option, verbose_option
from shifter_cli.session import Session
from shifter_common.errors import ShifterError

_LOGIN_EXAMPLES = """\
\b
Examples:
  shifterimg login                          for the site's default registry
  shifterimg login registry.example.org     for one registry
  shifterimg login registry.example.org --username me --password-stdin < token
  shifterimg login --show                   which logins there are

Exit status: 0 when the login is stored; 1 when the registry refuses it or cannot be asked, and
then nothing is stored.
"""

_LOGINS_EXAMPLES = """\
\b
Examples:
  shifterimg logins
  shifterimg logins --json | jq -r '.[].registry'
"""

_LOGOUT_EXAMPLES = """\
\b
Examples:
  shifterimg logout                         the login without a LOCATION
  shifterimg logout registry.example.org
  shifterimg logout --all
"""


@click.command(
    short_help="Try a registry login, and keep it for your pulls.", epilog=_LOGIN_EXAMPLES
)
@verbose_option
@json_option
@click.argument("location", default="default")
@click.option("--username", metavar="NAME", help="Do not ask for the user name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--no-verify", is_flag=True, help="Store it without asking the registry.")
@click.option("--show", is_flag=True, help="Show which logins there are, as `logins` does.")
@click.pass_obj
def login(
    session: Session,
    location: str,
    username: str | None,
    password_stdin: bool,
    no_verify: bool,
    show: bool,
) -> None:
    """Try a registry login, and keep it for your pulls in ~/.udiRoot/.cred.

    LOCATION is a registry: its host, or what the gateway calls it. Without one, the login is for
    the site's default registry, and for every other that you have no login for. The gateway asks
    the registry before anything is stored; a robot account or an access token will do in place of
    a password.

    Logins of docker and podman are used too, where you have any: see `logins`.
    """
    if show:
        _show(session)
        return
    location = _name_of(location)
    if not password_stdin:
        username, password = prompts.ask_login(location, username)
    elif username is None:
        raise click.UsageError("--password-stdin needs --username NAME")
    elif sys.stdin is None:
        raise click.UsageError("--password-stdin finds standard input closed")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    credentials.require_login(location, username, password)
    text = f"{username}:{password}"
    accepted = None if no_verify else _try(session, location, text)
    if accepted is not None:
        location = _storable(accepted.location, location)
    credential = session.encode(text.encode("utf-8", "surrogateescape"))
    credentials.CredentialFile.of_caller().store(session.config.system, location, credential)
    if accepted is not None and not accepted.is_verified:
        output.complain(
            f"{accepted.url or location} lets everybody in and has not looked at the login; it is "
            "stored as it is"
        )
    elif accepted is not None and sys.stderr is not None and sys.stderr.isatty():
        output.complain(f"{accepted.url or location} accepted the login of {username}")


@click.command(short_help="Show which registry logins there are.", epilog=_LOGINS_EXAMPLES)
@verbose_option
@json_option
@click.pass_obj
def logins(session: Session) -> None:
    """Show which registry logins there are, and where; never the passwords.

    First ~/.udiRoot/.cred, which `login` writes. Then what docker and podman keep:
    ~/.docker/config.json or $DOCKER_CONFIG/config.json, $REGISTRY_AUTH_FILE,
    $XDG_RUNTIME_DIR/containers/auth.json and ~/.config/containers/auth.json, and the credential
    helpers that these name. The first that has one for the registry of an image is used, and sent
    to the gateway for no other registry.
    """
    _show(session)


@click.command(short_help="Forget a registry login.", epilog=_LOGOUT_EXAMPLES)
@click.argument("location", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Forget all logins on this system.")
@click.pass_obj
def logout(session: Session, location: str | None, everywhere: bool) -> None:
    """Forget a registry login that `login` has stored; for LOCATION, or else the default one.

    What docker or podman keeps is theirs: docker logout forgets it.
    """
    if everywhere and location is not None:
        raise click.UsageError("give either LOCATION or --all")
    file = credentials.CredentialFile.of_caller()
    if everywhere:
        file.remove_all(session.config.system)
    else:
        file.remove(session.config.system, _name_of(location or "default"))


def _try(session: Session, location: str, text: str) -> AcceptedLogin | None:
    try:
        return session.gateway.try_login(location, text)
    except GatewayTooOldError:
        output.complain(
            "the login is stored as it is: this gateway cannot ask the registry whether it is right"
        )
        return None
    except GatewayRefusalError as error:
        hint = "" if error.status == 403 else "; --no-verify stores it without asking"
        raise LoginRefusedError(f"{error}; nothing is stored{hint}") from error
    except (GatewayUnreachableError, GatewayAnswerError) as error:
        raise LoginRefusedError(
            f"{error}; nothing is stored; --no-verify stores it without asking"
        ) from error


def _name_of(location: str) -> str:
    """A location as typed; a URL stands for its host."""
    return location.removeprefix("https://").removeprefix("http://").rstrip("/") or location


def _storable(location: str, typed: str) -> str:
    """The gateway's name of a registry, by which its pulls find the login."""
    try:
        credentials.require_login(location, "user", "password")
    except ShifterError:
        return typed
    return location


def _show(session: Session) -> None:
    from shifter_cli.logins import listing

    rows = listing.rows(session)
    if session.as_json:
        output.show_json([listing.to_json(row) for row in rows])
    elif rows:
        output.say("\n".join(listing.lines(rows)))
    elif sys.stderr is not None and sys.stderr.isatty():
        output.complain("there are no registry logins; shifterimg login makes one")
