# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway serve`: the embedded gateway, started by one command, with no other server."""

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
from shifter_imagegw import processes
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.command_options import config_option
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.errors import ConfigError

log = logging.getLogger(__name__)

_LOG_FORMAT = "%(asctime)s %(levelname)s %(process)d %(message)s"
_LOCK_SECONDS = 3.0
_BACKLOG = 1024  # connections that wait while the API restarts


@click.command()
@config_option
@click.option(
    "--bind",
    default="127.0.0.1:5000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that pull, each one image at a time.  [default: WorkerThreads]",
)
@click.option(
    "--api-workers",
    type=click.IntRange(1, 256),
    default=2,
    show_default=True,
    help="Processes that answer requests.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    help="Write the gateway's URL there once it listens.",
)
@click.option("--pid-file", type=click.Path(path_type=Path), help="Write the process id there.")
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
    """
    config = configuration.load(config_path)
    logging.basicConfig(format=_LOG_FORMAT, level=config.log_level, force=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # its lines hold whole URLs
    os.umask(0o077)  # layers of private images, the catalog and its lock are nobody else's business
    make_directories(config)
    with only_gateway_of(config), listening(bind) as listener:
        SqliteCatalog(config.catalog_path).close()  # what is wrong with it is said here and now
        url = url_of(listener)
        with noted(pid_file, f"{os.getpid()}\n"), noted(ready_file, f"{url}\n"):
            log.info("gateway started url=%s config=%s", url, config_path)
            if os.geteuid() == 0:
                log.warning("gateway runs as root and needs not: give it an account of its own")
            workers = workers or config.worker_threads
            processes.supervisor(config, listener, workers=workers, api_workers=api_workers).run()
    log.info("gateway stopped")


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
    """Hold the lock beside the catalog.

    Every child inherits it, so it is free once the last process of a gateway is gone, however it
    ended. After a crash that takes a moment.
    """
    path = config.catalog_path.with_name(f"{config.catalog_path.name}.lock")
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
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
