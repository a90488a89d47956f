# SPDX-License-Identifier: BSD-3-Clause
"""The command `shifterimg`: fetch images, list them, find one; each mode parses, calls, shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import click

from shifter_cli import imports, output, program
from shifter_cli.errors import GatewayRefusalError, GatewayUnreachableError
from shifter_cli.session import Session, is_no_answer
from shifter_common.errors import MungeError
from shifter_common.reference import ImageReference

DEFAULT_CONFIG = "/etc/shifter/udiRoot.conf"

_NO_ANSWER = 75  # EX_TEMPFAIL: the runtime then looks into the index beside the images

_EXAMPLES = """\
\b
Examples:
  shifterimg pull ubuntu:24.04                  fetch an image and wait for it
  shifterimg pull docker:python@sha256:4f5a...  exactly this content
  shifterimg images | grep ubuntu               what is there
  shifterimg lookup ubuntu:24.04                the id, for --image=id:...
  shifterimg login registry.example.org         for private images
  shifterimg --user alice,bob pull me/private:1 only for these users and you
  shifterimg import tool.squashfs tool:1        an image of your own, custom:tool:1
"""

_IMPORT_EXAMPLES = """\
\b
Examples:
  shifterimg import tool.squashfs tool:1              becomes custom:tool:1
  docker save app:2 > app.tar; shifterimg import app.tar app:2
  skopeo copy docker-daemon:app:2 oci-archive:app.tar; shifterimg import app.tar app:2
  shifterimg --group mylab import /project/roots/sl7 sl7:2026
"""

Function = TypeVar("Function", bound=Callable[..., Any])


class ModeGroup(click.Group):
    """Names the modes when none, or none of them, was given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(f"no such mode: {args[0]!r}; {self._known(ctx)}", ctx)
        return super().resolve_command(ctx, args)

    def require_mode(self, ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            raise click.UsageError(f"must specify a mode; {self._known(ctx)}", ctx)

    def _known(self, ctx: click.Context) -> str:
        return f"modes are {', '.join(self.list_commands(ctx))}"


def _set_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).verbose = True


def _set_config(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).config_path = value


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Session).as_json = value


def _add_users(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    ctx.ensure_object(Session).users += values


def _add_groups(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    ctx.ensure_object(Session).groups += values


def verbose_option(function: Function) -> Function:
    return click.option(
        "-v", "--verbose", is_flag=True, help="Show what the gateway answers.",
        expose_value=False, callback=_set_verbose,
    )(function)  # fmt: skip


def access_options(function: Function) -> Function:
    for flags, help_text, callback in (
        (("-g", "--group"), "Groups that may use the image.", _add_groups),
        (("-u", "--user"), "Users that may use the image.", _add_users),
    ):
        function = click.option(
            *flags, metavar="LIST", multiple=True, help=help_text,
            expose_value=False, callback=callback,
        )(function)  # fmt: skip
    return function


def json_option(function: Function) -> Function:
    return click.option(
        "--json", is_flag=True, help="Print JSON for programs.",
        expose_value=False, callback=_set_json,
    )(function)  # fmt: skip


@click.group(
    cls=ModeGroup,
    invoke_without_command=True,
    subcommand_metavar="MODE [IMAGE]...",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLES,
)
@verbose_option
@access_options
@click.option("--config", hidden=True, expose_value=False, callback=_set_config)
@click.pass_context
def shifterimg(ctx: click.Context) -> None:
    """Fetch container images for this cluster, list them, find one.

    LISTs are names or numbers joined by commas; they apply to pulls and imports.
    """
    group = ctx.command
    assert isinstance(group, ModeGroup)
    group.require_mode(ctx)


@shifterimg.command()
@verbose_option
@access_options
@json_option
@click.argument("image", nargs=-1, required=True)
@click.pass_obj
def pull(session: Session, image: tuple[str, ...]) -> None:
    """Have the gateway fetch images, and wait until they are ready.

    Exit status 0 when all are ready; otherwise 1, and standard error says why.
    """
    from shifter_cli import progress, pulls

    references = [session.reference(text) for text in image]
    access = session.access_lists()
    pulls.wait(
        lambda reference: session.gateway.pull(reference, access),
        references,
        progress.choose(verbose=session.verbose, as_json=session.as_json),
    )


@shifterimg.command()
@verbose_option
@access_options
@click.argument("image")
@click.pass_obj
def pullnb(session: Session, image: str) -> None:
    """Have the gateway fetch IMAGE, and do not wait."""
    from shifter_cli import progress, pulls

    reference = session.reference(image)
    record = session.gateway.pull(reference, session.access_lists())
    progress.show_once(reference, record, verbose=session.verbose)
    if failure := pulls.failure_of(reference, record):
        raise failure


@shifterimg.command("import", epilog=_IMPORT_EXAMPLES)
@verbose_option
@access_options
@json_option
@click.option(
    "--format", "file_format", type=click.Choice(imports.FORMATS), default=imports.AUTO,
    help="What FILE is; auto looks into it.",
)  # fmt: skip
@click.argument("file")
@click.argument("image", metavar="[TYPE:]TAG")
@click.pass_obj
def import_(session: Session, file: str, image: str, file_format: str) -> None:
    """Have the gateway make an image of FILE, and wait until it is ready.

    FILE is a squashfs file, an archive of `docker save`, `podman save` or `skopeo copy`, an OCI
    layout, or a directory that is the root of a system. The gateway must see it under the same
    path: it opens FILE on its own host and as you, also for systems that it reaches by ssh.
    TYPE is custom unless it is given.

    Set-id bits, devices and extended attributes stay out of the image, and all in it belongs to
    root. With --user or --group the image is for those and you, else for everybody.
    """
    from shifter_cli import progress, pulls

    reference = ImageReference.parse(image, "custom")
    path = imports.path_of(file)
    access = session.access_lists()
    pulls.wait(
        lambda reference: session.gateway.import_file(reference, path, file_format, access),
        [reference],
        progress.choose(verbose=session.verbose, as_json=session.as_json, doing=output.IMPORTING),
    )


@shifterimg.command()
@verbose_option
@json_option
@click.option("-l", "--long", is_flag=True, help="Show whole ids, size, expiration and puller.")
@click.option("--mine", is_flag=True, help="Only what you were the first to pull or import.")
@click.pass_obj
def images(session: Session, long: bool, mine: bool) -> None:
    """List the images that are ready.

    Columns: system, type, state, start of the id, local time of the last pull, tag; with --long:
    type, id, size, local time of the last pull, day of expiration if nobody asks for the image
    until then, who pulled it first, tag.
    """
    records = session.gateway.images()
    if mine:
        records = [record for record in records if record.puller == os.getuid()]
    if session.as_json:
        output.show_json([record.wire for record in records])
        return
    if records:
        output.say("\n".join(output.image_lines(records, long=long)))


@shifterimg.command()
@verbose_option
@json_option
@click.argument("image")
@click.pass_obj
def lookup(session: Session, image: str) -> int:
    """Print the id of IMAGE.

    Exit status 1, and nothing on standard output, if it is not there; 75 if no gateway answered, or
    none could be asked.
    """
    try:
        record = session.gateway.lookup(session.reference(image))
    except (GatewayUnreachableError, GatewayRefusalError, MungeError) as error:
        if not is_no_answer(error):
            raise
        output.show_errors([error], "shifterimg")
        return _NO_ANSWER
    if session.as_json:
        output.show_json(record.wire)
    else:
        output.say(output.printable(record.image_id))
    return 0


@shifterimg.command()
@verbose_option
@click.argument("image")
@click.pass_obj
def expire(session: Session, image: str) -> None:
    """Remove IMAGE from the system; for who pulled it and for administrators."""
    session.gateway.expire(session.reference(image))


@shifterimg.command()
@verbose_option
@click.pass_obj
def autoexpire(session: Session) -> None:
    """Remove every image that nobody has asked for in a long time; for administrators."""
    session.gateway.autoexpire()


@shifterimg.command()
@verbose_option
@json_option
@click.option(
    "--limit", type=click.IntRange(1, 10000), default=10, show_default=True, help="How many."
)
@click.pass_obj
def metrics(session: Session, limit: int) -> None:
    """List the last lookups: time, user, start of the id, image; for administrators."""
    rows = session.gateway.lookups(limit)
    if session.as_json:
        output.show_json([row.wire for row in rows])
        return
    for row in rows:
        output.say(output.lookup_line(row))


@shifterimg.command()
@verbose_option
@click.pass_obj
def queue(session: Session) -> None:
    """List the pulls that are not ready: state, image."""
    for waiting in session.gateway.queue():
        output.say(output.queue_line(waiting))


@shifterimg.command()
@click.argument("location", default="default")
@click.option("--username", help="Do not ask for the user name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.pass_obj
def login(session: Session, location: str, username: str | None, password_stdin: bool) -> None:
    """Store a registry login for your pulls, in ~/.udiRoot/.cred.

    LOCATION is the registry as the gateway knows it; without one, the login is for all of them.
    """
    from shifter_cli import credentials, prompts

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


@shifterimg.command()
@click.argument("location", default="default")
@click.pass_obj
def logout(session: Session, location: str) -> None:
    """Forget a registry login."""
    from shifter_cli import credentials

    credentials.CredentialFile.of_caller().remove(session.config.system, location)


def main(config: str = DEFAULT_CONFIG, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    program.run(shifterimg, "shifterimg", Session(config), arguments)
