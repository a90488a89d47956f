# SPDX-License-Identifier: BSD-3-Clause
"""The file of the SQLite catalog: a connection per thread, errors in words."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from shifter_imagegw.catalog.sqlite_schema import STEPS
from shifter_imagegw.errors import CatalogError

BUSY_SECONDS = 30.0  # how long a writer waits for the others


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A connection of one thread, and the process that has opened it."""

    pid: int
    connection: sqlite3.Connection
    in_use: threading.RLock = dataclasses.field(default_factory=threading.RLock)


class SqliteFile:
    """Gives each thread of each process its own connection to one catalog file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: list[_Opened] = []
        try:
            with self._translated():
                self._create()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close what this process has opened; a later call opens anew.

        Waits for threads that are using theirs: SQLite would crash under them.
        """
        with self._lock:
            for opened in self._opened:
                if opened.pid == os.getpid():
                    with opened.in_use:
                        opened.connection.close()
            self._opened = [opened for opened in self._opened if opened.pid != os.getpid()]
            self._local = threading.local()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._translated(), self._connection() as connection:
            yield connection

    @contextlib.contextmanager
    def writing_quickly(self) -> Iterator[sqlite3.Connection]:
        """`writing` what may be lost in a power failure: it reaches the disk with what follows."""
        with self._translated(), self._connection() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            try:
                with self.writing():
                    yield connection
            finally:
                connection.execute("PRAGMA synchronous = FULL")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer can come into; it holds all or nothing."""
        with self._translated(), self._connection() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, which `close` leaves alone meanwhile."""
        local = self._local
        opened: _Opened | None = getattr(local, "opened", None)
        if opened is None or opened.pid != os.getpid():
            # One that came through fork() belongs to the parent: it is neither used nor closed,
            # as both would end the parent's locks. `_opened` keeps it from being collected.
            local.opened = opened = self._open()
        with opened.in_use:
            yield opened.connection

    def _open(self) -> _Opened:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        opened = _Opened(os.getpid(), connection)
        with opened.in_use:
            with self._lock:
                self._opened.append(opened)
            connection.execute("PRAGMA foreign_keys = ON")
            # An answered request survives a power failure: every commit is on the disk.
            connection.execute("PRAGMA synchronous = FULL")
        return opened

    def _create(self) -> None:
        # It holds names of private images, so nobody else reads it; SQLite gives its
        # companion files the same mode.
        try:
            self.path.parent.mkdir(exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise CatalogError(
                f"cannot create catalog {str(self.path)!r}: {error.strerror}"
            ) from error
        with self._connection() as connection:
            if self._version(connection) == 0:
                _use_write_ahead_log(connection)
            if self._version(connection) < len(STEPS):
                with self.writing():
                    for step in STEPS[self._version(connection) :]:
                        for statement in step.split(";"):
                            connection.execute(statement)
            version = self._version(connection)
        if version != len(STEPS):
            raise CatalogError(
                f"catalog {str(self.path)!r} has format {version}, this release knows "
                f"{len(STEPS)}: use the release that made it"
            )

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CatalogError(self._words(error)) from error

    def _words(self, error: sqlite3.Error) -> str:
        # Extended codes carry the plain one in their low byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        catalog = f"catalog {str(self.path)!r}"
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{catalog} stayed locked for {BUSY_SECONDS:.0f} s by another process: try again"
        if code == sqlite3.SQLITE_FULL:
            return f"cannot write {catalog}: its filesystem is full, free some space"
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return (
                f"{catalog} is damaged ({error}): put a backup in its place, or move it away and "
                "pull the images again"
            )
        if code == sqlite3.SQLITE_CANTOPEN:
            return f"cannot open {catalog}: check that its directory is there and may be written"
        if code == sqlite3.SQLITE_READONLY:
            return f"cannot write {catalog}: the gateway's user may not"
        return f"{catalog} failed: {error}"


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL, which SQLite refuses at once, without waiting, while others look on."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return
