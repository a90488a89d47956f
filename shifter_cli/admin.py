# SPDX-License-Identifier: BSD-3-Clause
"""The command `shifter-admin`: what an administrator of nodes checks and prepares."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from shifter_cli import module_commands, output, program
from shifter_runtime import config as configs

if TYPE_CHECKING:
    from shifter_cli.modules.fitting import Verdict

DEFAULT_CONFIG = "/etc/shifter/udiRoot.conf"

_PROGRAM = "shifter-admin"

# Commands by the module that has them, as `command`.
_LAZY = {"addresses": "shifter_cli.addresses"}


_EXAMPLES = """\
\b
Examples:
  shifter-admin config check
  shifter-admin module prepare mpich --from /usr/lib/x86_64-linux-gnu
  shifter-admin module check mpich --image docker:ubuntu:24.04

Exit status: 0 when all is well, 1 when something is wrong or could not be done, 130 when
interrupted.
"""

_CHECK_EXAMPLES = """\
\b
Examples:
  shifter-admin config check
  shifter-admin config check --file udiRoot.conf.new
  shifter-admin config check --json | jq '.findings'
"""

_PREPARE_EXAMPLES = """\
\b
Examples:
  shifter-admin module prepare mpich --from /usr/lib/x86_64-linux-gnu
  shifter-admin module prepare openmpi --from /opt/openmpi-4.1 --name ompi41
  shifter-admin module prepare gpu --from /usr --replace        after an update of the driver
  shifter-admin module prepare gpu --root /images/compute --from /usr --into ./modules
  shifter-admin module prepare mpich --from /opt/mpich --check docker:ubuntu:20.04 --user alice
"""

_MODULE_CHECK_EXAMPLES = """\
\b
Examples:
  shifter-admin module check mpich --image docker:ubuntu:24.04
  shifter-admin module check ./modules/gpu --tree /images/roots/sl7 --json
"""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass
class Settings:
    """udiRoot.conf as far as commands need it."""

    path: str

    def load(self) -> configs.RuntimeConfig:
        return configs.load(self.path)


class AdminGroup(click.Group):
    """Names its commands when none, or none of them, was given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            known = ", ".join(self.list_commands(ctx))
            raise click.UsageError(f"no such command: {args[0]!r}; commands are {known}", ctx)
        return super().resolve_command(ctx, args)


class Program(AdminGroup):
    """The program itself; a command that few need is loaded only where it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        there = [name for name, module in _LAZY.items() if importlib.util.find_spec(module)]
        return sorted([*super().list_commands(ctx), *there])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LAZY and cmd_name in self.list_commands(ctx):
            command = importlib.import_module(_LAZY[cmd_name]).command
            assert isinstance(command, click.Command)
            return command
        return super().get_command(ctx, cmd_name)


def _require_command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        assert isinstance(ctx.command, click.Group)
        known = ", ".join(ctx.command.list_commands(ctx))
        raise click.UsageError(f"must specify a command; commands are {known}", ctx)


def _set_config(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).path = value


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(
        function
    )


def file_option(function: Function) -> Function:
    return click.option(
        "--file", metavar="FILE", expose_value=False, callback=_set_config,
        help="The udiRoot.conf to read instead of the installed one.",
    )(function)  # fmt: skip


def user_option(function: Function) -> Function:
    return click.option(
        "--user", metavar="NAME",
        help="As root: who starts the image, because shifter starts none for root ($SUDO_USER).",
    )(function)  # fmt: skip


@click.group(
    cls=Program, invoke_without_command=True, epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
@click.pass_context
def shifter_admin(ctx: click.Context) -> None:
    """Check the configuration of Shifter's runtime, and prepare its modules."""
    _require_command(ctx)


@shifter_admin.group("config", cls=AdminGroup, invoke_without_command=True)
@click.pass_context
def config_group(ctx: click.Context) -> None:
    """The file udiRoot.conf."""
    _require_command(ctx)


@config_group.command("check", epilog=_CHECK_EXAMPLES)
@file_option
@json_option
@click.pass_obj
def check_config(settings: Settings, as_json: bool) -> int:
    """Say what each key of udiRoot.conf means, and what is wrong with the file.

    Errors, which launches would fail with, end it with 1. Warnings tell what is ignored or may not
    be meant. As root it sees more: whether root may rely on files that others cannot look at.
    """
    from shifter_cli import config_check

    report = config_check.check(settings.path)
    if as_json:
        output.show_json(report.to_json())
        return int(not report.is_good)
    for setting in report.settings:
        value = output.printable(setting.value)
        show(f"{setting.line:>5}  {style(setting.key, bold=True)} = {value}")
        show(f"       {setting.meaning}")
    for finding in report.findings:
        word = style("error", "red") if finding.is_error else style("warning", "yellow")
        show(f"{word}: {output.printable(str(finding))}")
    warnings = len(report.findings) - report.errors
    verdict = "good" if report.is_good else "not usable"
    counts = f"errors: {report.errors}, warnings: {warnings}"
    show(f"{output.printable(report.path)}: {verdict} ({counts})")
    return int(not report.is_good)


@shifter_admin.group("module", cls=AdminGroup, invoke_without_command=True)
@click.pass_context
def module_group(ctx: click.Context) -> None:
    """Modules: an MPI or a GPU driver of the node, for use in containers."""
    _require_command(ctx)


@module_group.command("prepare", epilog=_PREPARE_EXAMPLES)
@click.argument("kind", type=click.Choice(module_commands.KINDS))
@click.option(
    "--from", "source", metavar="DIR", required=True,
    help="Where it is installed: its lib directory, or the directory above. For gpu: /usr.",
)  # fmt: skip
@click.option("--name", help="What users call the module, if not KIND.")
@click.option(
    "--into", metavar="DIR", type=click.Path(path_type=Path),
    help="Make DIR/NAME (udiRootPath/modules).",
)  # fmt: skip
@click.option(
    "--root", metavar="DIR", default="/", help="The root of a node's system, if not this one's."
)
@click.option(
    "--leave-out", metavar="LIBRARY", multiple=True,
    help="Do not take this library along (libz.so.1), because images have a better one.",
)  # fmt: skip
@click.option(
    "--take", metavar="LIBRARY", multiple=True,
    help="Take along a library of the compiler (libgfortran.so.5), which is the image's otherwise.",
)  # fmt: skip
@click.option("--replace", is_flag=True, help="Make it anew; what was there is kept as .NAME.old.")
@click.option("--check", "image", metavar="IMAGE", help="Then do as `module check --image IMAGE`.")
@user_option
@file_option
@json_option
@click.pass_obj
def prepare(
    settings: Settings,
    kind: str,
    source: str,
    name: str | None,
    into: Path | None,
    root: str,
    leave_out: tuple[str, ...],
    take: tuple[str, ...],
    replace: bool,
    image: str | None,
    user: str | None,
    as_json: bool,
) -> int:
    """Collect the libraries of an MPI or a GPU driver into a directory for copyPath.

    KIND is mpich (and what keeps its ABI), openmpi, or gpu (NVIDIA, AMD). Taken along are the
    libraries, what they need, and the plug-ins they load; never glibc, which is the image's. What
    udiRoot.conf must say is printed; paste it there. Without root it works below a directory of
    your own, which must become root's before it is used.
    """
    wish = module_commands.Wish(kind, source, name, into, root, leave_out, take, replace)
    # First, so that nothing is made where the image cannot be looked into.
    files = module_commands.running_image(image, user, settings.load()) if image else None
    made = module_commands.prepare(wish, settings.load)
    verdict = module_commands.check(made.path, files) if files else None
    if as_json:
        shown = made.to_json()
        if verdict:
            shown["check"] = verdict_json(made.path, str(image), verdict)
        output.show_json(shown)
    else:
        for note in made.notes:
            output.complain(note, _PROGRAM)
        show("\n".join(made.lines))
        if verdict:
            show_verdict(str(made.path), str(image), verdict, err=True)
    return int(verdict is not None and not verdict.fits)


@module_group.command("check", epilog=_MODULE_CHECK_EXAMPLES)
@click.argument("module", metavar="NAME|DIR")
@click.option("--image", metavar="IMAGE", help="An image, as for shifter; its own `cat` is used.")
@click.option("--tree", metavar="DIR", help="The root directory of an image, unpacked.")
@user_option
@file_option
@json_option
@click.pass_obj
def check_module(
    settings: Settings,
    module: str,
    image: str | None,
    tree: str | None,
    user: str | None,
    as_json: bool,
) -> int:
    """Tell whether a module's libraries can run in an image.

    NAME is a module of udiRoot.conf, DIR (with a slash) a directory that was prepared. Compared are
    the versions of glibc and of the compilers' libraries that the module needs with those that the
    image has; libraries that neither has; and libraries of the module older than the image's own.
    Exit status 1 if the module does not fit.
    """
    if (image is None) == (tree is None):
        raise click.UsageError("give either --image IMAGE or --tree DIR")
    directory = module_commands.directory_of(module, settings.load)
    files = (
        module_commands.running_image(image, user, settings.load())
        if image is not None
        else module_commands.unpacked_image(str(tree))
    )
    verdict = module_commands.check(directory, files)
    if as_json:
        output.show_json(verdict_json(directory, str(files), verdict))
    else:
        show_verdict(module, str(files), verdict)
    return int(not verdict.fits)


def verdict_json(directory: Path, image: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "module": str(directory),
        "image": image,
        "fits": verdict.fits,
        "image_glibc": verdict.glibc,
        "needed_glibc": verdict.needs,
        "findings": [
            {
                "severity": "error" if finding.is_error else "warning",
                "library": finding.library,
                "text": finding.text,
            }
            for finding in verdict.findings
        ],
    }


def show_verdict(module: str, image: str, verdict: Verdict, *, err: bool = False) -> None:
    for finding in verdict.grouped():
        word = style("error", "red") if finding.is_error else style("warning", "yellow")
        show(f"{word}: {output.printable(str(finding))}", err=err)
    fits = style("fits", "green") if verdict.fits else style("does not fit", "red")
    needs = f"needs {verdict.needs or 'no glibc'}, the image has {verdict.glibc or 'none'}"
    show(f"{output.printable(module)} {fits} {output.printable(image)} ({needs})", err=err)


def style(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=bold or None)


def show(text: str, *, err: bool = False) -> None:
    """Colours are dropped where no terminal shows them."""
    click.echo(text, err=err)


def main(config: str = DEFAULT_CONFIG, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run as a program."""
    program.run(shifter_admin, _PROGRAM, Settings(config), arguments)
