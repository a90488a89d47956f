# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin module`: an MPI or a GPU driver of the node, for use in containers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shifter_cli import output
from shifter_cli.administration import module_work
from shifter_cli.administration.options import (
    AdminGroup,
    Settings,
    file_option,
    json_option,
    require_command,
    user_option,
)
from shifter_cli.administration.screen import show, style

if TYPE_CHECKING:
    from shifter_cli.modules.fitting import Verdict

_PREPARE_EXAMPLES = """\
\b
Examples:
  shifter-admin module prepare mpich --from /usr/lib/x86_64-linux-gnu
  shifter-admin module prepare openmpi --from /opt/openmpi-4.1 --name ompi41
  shifter-admin module prepare gpu --from /usr --replace   for a new driver
  shifter-admin module prepare gpu --root /node --from /usr --into ./m
  shifter-admin module prepare mpich --from /opt/mpich \\
      --check docker:ubuntu:20.04 --user alice
"""

_MODULE_CHECK_EXAMPLES = """\
\b
Examples:
  shifter-admin module check mpich --image docker:ubuntu:24.04
  shifter-admin module check ./modules/gpu --tree /images/roots/sl7 --json
"""


@click.group(
    "module", cls=AdminGroup, invoke_without_command=True,
    short_help="Prepare MPI or GPU drivers for containers.",
)  # fmt: skip
@click.pass_context
def module_group(ctx: click.Context) -> None:
    """Modules: an MPI or a GPU driver of the node, for use in containers."""
    require_command(ctx)


@module_group.command(
    "prepare",
    epilog=_PREPARE_EXAMPLES,
    short_help="Collect the libraries of a driver for copyPath.",
)
@click.argument("kind", type=click.Choice(module_work.KINDS))
@click.option(
    "--from", "source", metavar="DIR", required=True,
    help="Where it is installed: its lib directory, or the directory above. For gpu: /usr.",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="What users call the module, if not KIND.")
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
    wish = module_work.Wish(kind, source, name, into, root, leave_out, take, replace)
    # First, so that nothing is made where the image cannot be looked into.
    files = module_work.running_image(image, user, settings.load()) if image else None
    made = module_work.prepare(wish, settings.load)
    verdict = module_work.check(made.path, files) if files else None
    if as_json:
        shown = made.to_json()
        if verdict:
            shown["check"] = verdict_json(made.path, str(image), verdict)
        output.show_json(shown)
    else:
        for note in made.notes:
            output.complain(note, "shifter-admin")
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
    directory = module_work.directory_of(module, settings.load)
    files = (
        module_work.running_image(image, user, settings.load())
        if image is not None
        else module_work.unpacked_image(str(tree))
    )
    verdict = module_work.check(directory, files)
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
