# SPDX-License-Identifier: BSD-3-Clause
"""The way to MongoDB: a client per process, writes that stay, errors in words."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.uri_parser import parse_uri

from shifter_imagegw.errors import CatalogError

Document = dict[str, Any]

# Whatever the URI says: with less, a MongoDB that is killed forgets what it has acknowledged.
DURABLE = WriteConcern("majority", j=True, wtimeout=15_000)
# What the driver raises for content that no document can hold.
UNKEEPABLE = (BSONError, UnicodeEncodeError, OverflowError)
# For what may be lost in a crash.
QUICK = WriteConcern(1)

_OPTIONS: dict[str, Any] = {
    "appname": "shifter-gateway",
    "connectTimeoutMS": 5_000,
    "serverSelectionTimeoutMS": 5_000,
    "socketTimeoutMS": 20_000,
    "retryReads": True,
    "retryWrites": True,  # where the server can: one that is in no replica set cannot
    "w": "majority",
    "journal": True,
}
# Instead of what the driver says: that may hold a piece of the password.
_UNUSABLE = (
    "MongoDBURI cannot be used: it must look like mongodb://user:password@host:port/, with special "
    "characters in user and password written as %XX, and options that MongoDB knows"
)
_NOT_AUTHENTICATED = {18, 8000}
_NOT_PERMITTED = {13}


class MongoConnection:
    """Gives each process its own client of one database.

    Nothing is connected before the first use, so that a process may open the catalog and then
    fork. `prepare` is called with the database once in each process, before anything else.
    """

    def __init__(
        self, uri: str, database: str, prepare: Callable[[Database[Document]], None]
    ) -> None:
        self._uri = uri
        self._name = database
        self._prepare = prepare
        self._clients: dict[int, MongoClient[Document]] = {}
        self._prepared: set[int] = set()
        self._who = server_of(uri)

    def close(self) -> None:
        """Close what this process has opened; a later call opens anew."""
        # One that came through fork() is kept from being collected, as its threads are not here.
        client = self._clients.pop(os.getpid(), None)
        self._prepared.discard(os.getpid())
        if client is not None:
            client.close()

    @contextlib.contextmanager
    def using(self, collection: str) -> Iterator[Collection[Document]]:
        """A collection; what goes wrong with it in the body is a `CatalogError`."""
        with self._translated():
            yield self._ready_database()[collection]

    def _ready_database(self) -> Database[Document]:
        database = self._client().get_database(
            self._name, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
        )
        pid = os.getpid()
        if pid not in self._prepared:
            self._prepare(database)
            self._prepared.add(pid)
        return database

    def _client(self) -> MongoClient[Document]:
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            try:
                made: MongoClient[Document] = MongoClient(self._uri, **_OPTIONS)
            except ValueError:
                raise CatalogError(_UNUSABLE) from None
            # No lock, as one might be held by another thread at the moment of a fork().
            client = self._clients.setdefault(pid, made)
            if client is not made:
                made.close()
        return client

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ConfigurationError:
            raise CatalogError(_UNUSABLE) from None
        except PyMongoError as error:
            raise CatalogError(self._words(error)) from error
        except UNKEEPABLE as error:
            raise CatalogError(f"{self._who} cannot keep this: {error}") from error

    def _words(self, error: PyMongoError) -> str:
        code = error.code if isinstance(error, OperationFailure) else None
        if code in _NOT_AUTHENTICATED:
            return f"{self._who} does not accept the gateway's login: check MongoDBURI"
        if code in _NOT_PERMITTED:
            return (
                f"{self._who} does not permit this to the gateway's user: grant it readWrite on "
                f"database {self._name!r}"
            )
        if isinstance(error, WTimeoutError):
            return (
                f"{self._who} cannot reach a majority of its replica set: start its other members"
            )
        if isinstance(error, ConnectionFailure | AutoReconnect):
            return f"{self._who} does not answer: check that it runs ({_short(error)})"
        return f"{self._who} failed: {_short(error)}"


def _short(error: PyMongoError) -> str:
    """The first part of what the driver says; what follows is its view of the whole cluster."""
    text = str(error).partition(", Timeout: ")[0].partition(", full error:")[0]
    text = re.sub(r"\[Errno -?\d+\] ", "", text.partition(" (configured timeouts")[0])
    if "No replica set members" in text or text.startswith("No servers match"):
        return f"{text}: a replica set has a primary only after rs.initiate()"
    return text


def server_of(uri: str) -> str:
    """How to name the server in errors: its hosts, and nothing secret."""
    if not uri.startswith("mongodb://"):
        return "MongoDB"  # the hosts of mongodb+srv:// are known to the name service alone
    try:
        hosts = parse_uri(uri, warn=False)["nodelist"]
    except (PyMongoError, ValueError):
        return "MongoDB"
    return "MongoDB at " + ",".join(f"{host}:{port}" for host, port in hosts)
