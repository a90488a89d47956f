# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway serve` and `api`: the gateway as one command, and its API alone."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from shifter_imagegw import config as configuration
from shifter_imagegw.catalog.opening import open_catalog
from shifter_imagegw.commands import processes
from shifter_imagegw.commands.options import config_option
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.credentials import sealer_of
from shifter_imagegw.errors import ConfigError
from shifter_imagegw.operation import logs

log = logging.getLogger(__name__)

_PRIVATE = 0o077  # layers of private images and the catalog are nobody else's business
_LOCK_SECONDS = 3.0
_BACKLOG = 1024  # connections that wait while the API restarts


bind_option = click.option(
    "--bind",
    default="127.0.0.1:5000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
ready_file_option = click.option(
    "--ready-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the gateway's URL there once it listens.",
)
pid_file_option = click.option(
    "--pid-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the process id there.",
)


@click.command()
@config_option
@bind_option
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="NUMBER",
    help="Processes that pull, each one image at a time.  [default: WorkerThreads]",
)
@click.option(
    "--api-workers",
    type=click.IntRange(1, 256),
    metavar="NUMBER",
    default=2,
    show_default=True,
    help="Processes that answer requests.",
)
@ready_file_option
@pid_file_option
def serve(
    config_path: Path,
    bind: str,
    workers: int | None,
    api_workers: int,
    ready_file: Path | None,
    pid_file: Path | None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Pulls that are running then go back to the queue, and the next start takes them up again; so
    does a start after a crash. Each event is one line on standard error.

    \b
    Example:
      runuser -u shifter -- shifter-gateway serve --bind 0.0.0.0:5000
    """
    config = configuration.load(config_path)
    logs.configure(config, "serve")
    os.umask(_PRIVATE)
    make_directories(config)
    with only_gateway_of(config), listening(bind) as listener:
        require_catalog(config)
        with announced(listener, config_path, pid_file, ready_file):
            if config.broker is not None:
                log.info("Broker is not used by serve: its workers look into the catalog")
            workers = workers or config.worker_threads
            processes.supervisor(config, listener, workers=workers, api_workers=api_workers).run()
    log.info("gateway stopped")


@click.command(short_help="Run the API alone; Celery workers do the pulls.")
@config_option
@bind_option
@click.option(
    "--processes",
    "count",
    type=click.IntRange(1, 256),
    metavar="NUMBER",
    default=2,
    show_default=True,
    help="Processes that answer requests.",
)
@ready_file_option
@pid_file_option
def api(
    config_path: Path, bind: str, count: int, ready_file: Path | None, pid_file: Path | None
) -> None:
    """Run the API alone until SIGTERM or Ctrl-C; Celery workers do the pulls.

    It starts while MongoDB and Redis are away, and answers when they are there.

    \b
    Example:
      runuser -u shifter -- shifter-gateway api --bind 0.0.0.0:5000 --processes 4
    """
    config = configuration.load(config_path)
    logs.configure(config, "api")
    os.umask(_PRIVATE)
    sealer = sealer_of(config, os.environ)
    if config.mongodb is None:
        make_directories(config)
    if config.broker is None:
        log.warning("Broker is missing: workers learn of pulls from the catalog alone")
    with listening(bind) as listener, announced(listener, config_path, pid_file, ready_file):
        processes.run_api(config, sealer, listener, count, embedded=False)


@contextlib.contextmanager
def announced(
    listener: socket.socket, config_path: Path, pid_file: Path | None, ready_file: Path | None
) -> Iterator[None]:
    """Tell everybody where the gateway listens while the body runs."""
    url = url_of(listener)
    with noted(pid_file, f"{os.getpid()}\n"), noted(ready_file, f"{url}\n"):
        log.info("gateway started url=%s config=%s", url, config_path)
        if os.geteuid() == 0:
            log.warning("gateway runs as root and needs not: give it an account of its own")
        yield


def require_catalog(config: GatewayConfig) -> None:
    """Say here and now what is wrong with it."""
    with contextlib.closing(open_catalog(config)) as catalog:
        catalog.check()


def make_directories(config: GatewayConfig) -> None:
    for directory in (config.cache_directory, config.catalog_path.parent):
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"cannot create directory {os.fspath(directory)!r}: {error.strerror}"
            ) from error


@contextlib.contextmanager
def only_gateway_of(config: GatewayConfig) -> Iterator[None]:
    """Hold the lock beside the catalog's file; gateways on one MongoDB may be several.

    Every child inherits it, so it is free once the last process of a gateway is gone, however it
    ended. After a crash that takes a moment.
    """
    if config.mongodb is not None:
        yield
        return
    path = _lock_of(config.catalog_path)
    try:
        file = path.open("w")
    except OSError as error:
        raise ConfigError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
    with file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _locked(file):
            if time.monotonic() >= deadline:
                raise ConfigError(
                    f"another gateway is running on catalog {os.fspath(config.catalog_path)!r}: "
                    "stop it first, or give this one a CatalogPath of its own"
                )
            time.sleep(0.1)
        yield


def is_served(config: GatewayConfig) -> bool:
    """Whether a gateway of this host runs on the catalog's file."""
    return is_locked(config.catalog_path)


def is_locked(catalog: Path) -> bool:
    """Whether somebody has the lock beside a catalog's file."""
    try:
        with _lock_of(catalog).open() as file:
            return not _locked(file)
    except OSError:
        return False


def _lock_of(catalog: Path) -> Path:
    return catalog.with_name(f"{catalog.name}.lock")


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listening(bind: str) -> socket.socket:
    """A socket that listens at `HOST:PORT`."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"cannot listen at {bind!r}: write it as HOST:PORT")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"cannot listen at {bind!r}: {error.strerror}") from error
    family, _, _, _, address = found[0]
    try:
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # its own text names the address again
        raise ConfigError(f"cannot listen at {bind!r}: {reason}") from error


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def noted(path: Path | None, text: str) -> Iterator[None]:
    """Have `text` in a file at `path`, whole, while the body runs."""
    if path is None:
        yield
        return
    partial_path = path.with_name(f"{path.name}.partial")
    try:
        partial_path.write_text(text)
        partial_path.chmod(0o644)
        partial_path.rename(path)
    except OSError as error:
        raise ConfigError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
    noted_by = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == noted_by:  # children of the API's end here, too
            path.unlink(missing_ok=True)
