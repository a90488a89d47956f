# SPDX-License-Identifier: BSD-3-Clause
"""An image as a file of the user's own."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import IO

import click

from shifter_cli import output
from shifter_cli.files import downloads, oci_archive, sqfs2tar
from shifter_cli.files.downloads import ExportError, Source
from shifter_cli.inspection import Inspection
from shifter_cli.modes.options import image_argument, quiet_option, verbose_option
from shifter_cli.progress.transfer import TransferProgress
from shifter_cli.session import Session

SQUASHFS, OCI_ARCHIVE = "squashfs", "oci-archive"

_EXAMPLES = """\
\b
Examples:
  shifterimg export app:1 app.squashfs
  shifterimg export --format oci-archive app:1 app.tar
  podman load --input app.tar
  skopeo copy oci-archive:app.tar docker://registry.example.org/me/app:1
  shifterimg export app:1 - | ssh other 'cat > app.squashfs'
"""


@click.command(short_help="Save an image as a file of yours.", epilog=_EXAMPLES)
@verbose_option
@quiet_option
@click.option(
    "--format", "file_format", type=click.Choice((SQUASHFS, OCI_ARCHIVE)), default=SQUASHFS,
    show_default=True, help="What FILE is to be.",
)  # fmt: skip
@click.option("-o", "--output", "other_file", metavar="FILE", help="The same as FILE.")
@click.option("-f", "--force", is_flag=True, help="Write over a file that is there.")
@image_argument
@click.argument("file", required=False)
@click.pass_obj
def export(
    session: Session,
    image: str,
    file: str | None,
    other_file: str | None,
    file_format: str,
    *,
    quiet: bool,
    force: bool,
) -> None:
    """Save IMAGE as FILE: the image file as it is, or an OCI archive of one layer.

    FILE appears when it is complete. What breaks off is kept beside it, and the same command goes
    on from there. - is standard output. An OCI archive keeps variables, entrypoint, command,
    directory, user, labels and history; making it needs sqfs2tar (package squashfs-tools-ng) here.
    """
    target = _target(file, other_file, force=force)
    reference = session.reference(image)
    display = TransferProgress(str(reference), quiet=quiet)
    source = Source(
        reference,
        lambda start: session.gateway.export(reference, start),
        lambda done, size: display.show("DOWNLOADING", done, size),
    )
    try:
        with contextlib.closing(source):
            _save(session, source, target, display, file_format)
    except KeyboardInterrupt:
        display.end()
        if target != "-":
            output.complain(
                "stopped; what has come is kept, and the same command goes on from there"
            )
        raise
    finally:
        display.end()
    if not quiet and target != "-":
        size = output.bytes_text(os.stat(target).st_size)
        output.say(output.printable(f"exported {reference} to {target} ({size})"))


def _save(
    session: Session, source: Source, target: str, display: TransferProgress, file_format: str
) -> None:
    if file_format == OCI_ARCHIVE:
        _require_squashfs(source)
        sqfs2tar.require()  # rather than learn that it is missing when all has come
        reference = source.reference
        wire = session.gateway.inspect(reference, f"cannot export {reference}")
        seen = Inspection.from_wire(reference, wire)
        _save_archive(source, seen, target, display)
    elif target == "-":
        _copy(source, _standard_output())
    else:
        with downloads.partial_file(target, source) as partial:
            downloads.fetch(source, partial, target)
            os.replace(partial.name, target)


def _target(file: str | None, other_file: str | None, *, force: bool) -> str:
    target = file or other_file
    if target is None:
        raise click.UsageError("name a FILE to export to, or - for standard output")
    if file and other_file:
        raise click.UsageError("say once where to export to: as FILE, or with --output")
    if target == "-":
        if output.is_terminal(sys.stdout):
            raise click.UsageError("an image is not for a terminal: name a FILE, or pipe it on")
        return target
    if os.path.isdir(target):
        raise ExportError(f"cannot export to {target!r}: it is a directory; name a file in it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise ExportError(f"cannot export to {target!r}: it is no regular file")
    if os.path.lexists(target) and not force:
        raise ExportError(f"cannot export to {target!r}: it is there already; --force replaces it")
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise ExportError(f"cannot export to {target!r}: there is no directory {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ExportError(f"cannot export to {target!r}: you may not write into {folder}")
    return target


def _require_squashfs(source: Source) -> None:
    if source.format != SQUASHFS:
        raise ExportError(
            f"cannot export {source.reference} as {OCI_ARCHIVE}: its file is {source.format}, only "
            "squashfs can be unpacked without root; export it without --format"
        )


def _save_archive(source: Source, seen: Inspection, target: str, display: TransferProgress) -> None:
    if target == "-":
        try:
            with tempfile.NamedTemporaryFile(suffix=".squashfs") as whole:
                downloads.fetch(source, whole, target)
                _pack(whole.name, seen, _standard_output(), None, display)
        except BrokenPipeError:  # who reads has read enough
            raise
        except OSError as error:
            raise ExportError(
                f"cannot export to '-': {error.strerror}; the archive is made in "
                f"{tempfile.gettempdir()}: where that is full, set TMPDIR to another folder"
            ) from error
        return
    folder = os.path.dirname(os.path.abspath(target))
    with downloads.partial_file(target, source) as partial:
        downloads.fetch(source, partial, target)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".export.", delete=False) as archive:
            try:
                _pack(partial.name, seen, archive, folder, display)
                os.fchmod(archive.fileno(), 0o666 & ~_umask())
                os.replace(archive.name, target)
            except BaseException:
                os.unlink(archive.name)
                raise
        os.unlink(partial.name)


def _pack(
    path: str, seen: Inspection, out: IO[bytes], folder: str | None, display: TransferProgress
) -> None:
    def show(done: int) -> None:
        display.show("PACKING", done)

    oci_archive.write(sqfs2tar.pieces(path), seen, out, folder=folder, watch=show)
    out.flush()


def _copy(source: Source, out: IO[bytes]) -> None:
    for piece in source.pieces():
        out.write(piece)
    out.flush()


def _standard_output() -> IO[bytes]:
    if sys.stdout is None:
        raise ExportError("cannot write the archive: standard output is closed")
    return sys.stdout.buffer


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
