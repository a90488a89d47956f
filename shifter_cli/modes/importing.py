# SPDX-License-Identifier: BSD-3-Clause
"""Making an image of a file or directory."""

from __future__ import annotations

import click

from shifter_cli import output
from shifter_cli.files import imports
from shifter_cli.modes.options import access_options, json_option, quiet_option, verbose_option
from shifter_cli.progress import forms, pulls
from shifter_cli.session import Session
from shifter_common.reference import ImageReference

_IMPORT_EXAMPLES = """\
\b
Examples:
  shifterimg import tool.squashfs tool:1           becomes custom:tool:1
  docker save app:2 > app.tar; shifterimg import app.tar app:2
  skopeo copy docker-daemon:app:2 oci-archive:app.tar
  shifterimg import app.tar app:2
  shifterimg import --group mylab /project/roots/sl7 sl7:2026
"""


@click.command(
    "import", short_help="Make an image of a file or directory of yours.", epilog=_IMPORT_EXAMPLES
)
@verbose_option
@access_options
@json_option
@quiet_option
@click.option(
    "--format", "file_format", type=click.Choice(imports.FORMATS), default=imports.AUTO,
    show_default=True, help="What FILE is; auto looks into it.",
)  # fmt: skip
@click.argument("file")
@click.argument("image", metavar="[TYPE:]TAG")
@click.pass_obj
def import_(session: Session, file: str, image: str, file_format: str, *, quiet: bool) -> None:
    """Have the gateway make an image of FILE, and wait until it is ready.

    FILE is a squashfs file, an archive of `docker save`, `podman save` or `skopeo copy`, an OCI
    layout, or a directory that is the root of a system. The gateway must see it under the same
    path: it opens FILE on its own host and as you, also for systems that it reaches by ssh.
    TYPE is custom unless it is given.

    Set-id bits, devices and extended attributes stay out of the image, and all in it belongs to
    root. With --user or --group the image is for those and you, else for everybody.
    """
    reference = ImageReference.parse(image, "custom")
    path = imports.path_of(file)
    access = session.access_lists()
    pulls.wait(
        lambda reference: session.gateway.import_file(reference, path, file_format, access),
        [reference],
        forms.choose(
            verbose=session.verbose,
            as_json=session.as_json,
            quiet=quiet,
            doing=output.IMPORTING,
        ),
    )
