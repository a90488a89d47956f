# SPDX-License-Identifier: BSD-3-Clause
"""`python -m benchmarks NAME`, as root, from the checkout; without a name it lists them."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from benchmarks import (
    crowd,
    imports,
    installation,
    launch,
    lookup,
    pull,
    scale,
    scale_table,
    writes,
)
from benchmarks.installation import Installation
from benchmarks.programs import BenchmarkError
from benchmarks.report import Report

# Root alone can change what is below it, which a set-uid program asks for; /tmp will not do.
DEFAULT_WORK = Path("/var/lib/shifter-benchmarks")
MARK = ".shifter-benchmarks"


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """What each benchmark takes."""
    for option in (
        click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write it."),
        click.option("--keep", is_flag=True, help="Leave the work directory for the next run."),
        click.option(
            "--work",
            type=click.Path(path_type=Path),
            default=DEFAULT_WORK,
            show_default=True,
            help="A directory that root alone can change; it needs about 6 GB at scale 1.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Measure what the project claims, side by side with its peers, on this machine."""
    if os.geteuid() != 0:
        raise click.ClickException("benchmarks install and mount: run them as root, by sudo")
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


@main.command("pull")
@shared_options
@click.option("--scale", default=1.0, show_default=True, help="Size of the image; 0.02 to try.")
@click.option(
    "--repetitions",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Of ours and the floors.",
)
@click.option(
    "--peer-repetitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of the slow ones.",
)
@click.option("--only-ours", is_flag=True, help="Leave the peers out.")
def pull_command(
    work: Path,
    keep: bool,
    json_path: Path | None,
    scale: float,
    repetitions: int,
    peer_repetitions: int,
    only_ours: bool,
) -> None:
    """Pull a made-up image of 700 MB and 40,000 entries."""
    with working_directory(work, keep=keep):
        report = pull.measure(
            pull.Pulls(
                work=work,
                installation=installation.temporary(work),
                scale=scale,
                repetitions=repetitions,
                peer_repetitions=peer_repetitions,
                only_ours=only_ours,
            )
        )
    show(report, json_path)


@main.command("launch")
@shared_options
@click.option(
    "--prefix",
    type=click.Path(path_type=Path, exists=True),
    help="Measure the installation there; without it, this checkout is installed for a while.",
)
@click.option("--user", default="nobody", show_default=True, help="Who launches.")
@click.option("--repetitions", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--at-once", default=100, show_default=True, help="Launches at the same time.")
def launch_command(
    work: Path,
    keep: bool,
    json_path: Path | None,
    prefix: Path | None,
    user: str,
    repetitions: int,
    at_once: int,
) -> None:
    """Launch `true` from an image, as a user."""
    with working_directory(work, keep=keep):
        report = launch.measure(
            launch.Launches(
                work=work,
                user=known_user(user),
                installation=installed(prefix, work),
                repetitions=repetitions,
                at_once=at_once,
            )
        )
    show(report, json_path)


def catalog_option(command: Callable[..., None]) -> Callable[..., None]:
    """Which of the two gateways is measured."""
    return click.option(
        "--catalog",
        type=click.Choice(list(lookup.CATALOGS)),
        default="sqlite",
        show_default=True,
        help="Of the embedded gateway, or of one with gunicorn (and Celery, Redis) beside it.",
    )(command)


@main.command("lookup")
@shared_options
@catalog_option
@click.option("--records", default=10_000, show_default=True, help="Images in the catalog.")
@click.option("--clients", default=4, show_default=True, help="Processes that ask.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement.")
def lookup_command(
    work: Path,
    keep: bool,
    json_path: Path | None,
    catalog: str,
    records: int,
    clients: int,
    seconds: float,
) -> None:
    """Ask a gateway for images that it has."""
    with working_directory(work, keep=keep):
        report = lookup.measure(
            lookup.Lookups(
                work=work,
                installation=installation.temporary(work),
                catalog=catalog,
                records=records,
                clients=clients,
                seconds=seconds,
            )
        )
    show(report, json_path)


@main.command("crowd")
@shared_options
@catalog_option
@click.option("--clients", default=200, show_default=True, help="That pull at the same time.")
@click.option("--scale", default=0.2, show_default=True, help="Size of the image; 0.02 to try.")
def crowd_command(
    work: Path, keep: bool, json_path: Path | None, catalog: str, clients: int, scale: float
) -> None:
    """Pull one image by many clients at once."""
    with working_directory(work, keep=keep):
        report = crowd.measure(
            crowd.Crowd(
                work=work,
                installation=installation.temporary(work),
                catalog=catalog,
                clients=clients,
                scale=scale,
            )
        )
    show(report, json_path)


def delay_option(command: Callable[..., None]) -> Callable[..., None]:
    """How slow the shared filesystem of a benchmark is."""
    return click.option(
        "--delay",
        default=0.001,
        show_default=True,
        help="Seconds that each operation of the shared filesystem takes longer.",
    )(command)


@main.command("imports")
@shared_options
@delay_option
@click.option("--user", default="nobody", show_default=True, help="Who runs Python.")
@click.option("--repetitions", type=click.IntRange(min=1), default=3, show_default=True)
def imports_command(
    work: Path, keep: bool, json_path: Path | None, delay: float, user: str, repetitions: int
) -> None:
    """Start Python with a scientific stack, and with 300 generated extensions."""
    with working_directory(work, keep=keep):
        report = imports.measure(
            imports.Imports(
                work=work,
                user=known_user(user),
                installation=installation.temporary(work),
                delay=delay,
                repetitions=repetitions,
            )
        )
    show(report, json_path)


@main.command("writes")
@shared_options
@delay_option
@click.option("--user", default="nobody", show_default=True, help="Who writes.")
@click.option("--mebibytes", default=64, show_default=True, help="Written into the perNodeCache.")
@click.option("--repetitions", type=click.IntRange(min=1), default=3, show_default=True)
def writes_command(
    work: Path,
    keep: bool,
    json_path: Path | None,
    delay: float,
    user: str,
    mebibytes: int,
    repetitions: int,
) -> None:
    """Write 512 bytes at a time, into a perNodeCache and beside it."""
    with working_directory(work, keep=keep):
        report = writes.measure(
            writes.Writes(
                work=work,
                user=known_user(user),
                installation=installation.temporary(work),
                delay=delay,
                mebibytes=mebibytes,
                repetitions=repetitions,
            )
        )
    show(report, json_path)


@main.command("scale")
@shared_options
@click.option("--user", default="nobody", show_default=True, help="Whose job it is.")
@click.option("--nodes", default=10_000, show_default=True, help="Of the cluster that is played.")
@click.option("--ranks", default=128, show_default=True, help="Of each node, really started.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True),
    help="Write the tables into this page of the documentation, between its marks.",
)
def scale_command(
    work: Path,
    keep: bool,
    json_path: Path | None,
    user: str,
    nodes: int,
    ranks: int,
    into: Path | None,
) -> None:
    """Count what a job of so many nodes asks of gateway, nodes, filesystem and Slurm."""
    with working_directory(work, keep=keep):
        measured = scale.measure(
            scale.Scale(
                work=work,
                installation=scale.install(work),
                user=known_user(user),
                nodes=nodes,
                ranks=ranks,
            )
        )
        click.echo(scale_table.markdown(measured) + "\n")
        if into is not None:
            scale_table.write(measured, into)
    show(scale.report(measured), json_path)


@contextlib.contextmanager
def working_directory(work: Path, *, keep: bool) -> Iterator[None]:
    """Make the directory, or take one that an earlier run kept; remove it unless it is kept."""
    if not work.is_absolute():
        raise click.ClickException(f"--work must be an absolute path, not {str(work)!r}")
    if work.exists() and not (work / MARK).exists() and any(work.iterdir()):
        raise click.ClickException(f"{work} holds other files: name an empty or a new directory")
    work.mkdir(parents=True, exist_ok=True)
    (work / MARK).touch()
    try:
        yield
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    finally:
        if not keep:
            shutil.rmtree(work)


def installed(prefix: Path | None, work: Path) -> Installation:
    if prefix is not None:
        return installation.existing(prefix)
    ours = installation.temporary(work)
    caches = work / "caches"
    caches.mkdir(exist_ok=True)
    caches.chmod(0o1733)
    ours.configure(work / "images", perNodeCachePath=caches, mkfsXfsPath="/sbin/mkfs.xfs")
    return ours


def known_user(name: str) -> pwd.struct_passwd:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise click.ClickException(f"there is no user {name!r} here") from None
    if found.pw_uid == 0:
        raise click.ClickException("root does not launch containers: name another user")
    return found


def show(report: Report, json_path: Path | None) -> None:
    click.echo(report)
    if json_path is not None:
        report.write(json_path)


if __name__ == "__main__":
    sys.exit(main())
