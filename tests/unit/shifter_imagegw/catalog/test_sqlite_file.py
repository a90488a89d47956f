# SPDX-License-Identifier: BSD-3-Clause
"""What only the SQLite catalog can suffer."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading

import pytest

from shifter_imagegw.catalog import sqlite_file
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import NewPull

NOW = 1_800_000_000.5
NEW = NewPull(system="mycluster", image_type="docker", pull_tag="app:1", format="squashfs")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "catalog.sqlite"


@pytest.fixture
def catalog(path):
    catalog = SqliteCatalog(path)
    yield catalog
    catalog.close()


@pytest.fixture
def other(path, catalog):
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def test_only_the_gateway_reads_the_file(path, catalog):
    catalog.add_pull(NEW, NOW)

    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_commits_reach_the_disk_before_they_are_answered(catalog):
    with catalog._file.reading() as connection:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()

    assert (journal, synchronous) == ("wal", 2)


def test_a_catalog_is_closed_under_no_thread_that_uses_it(catalog):
    """Where it is, the interpreter crashes."""
    ended = threading.Event()

    def use():
        while not ended.is_set():
            with contextlib.suppress(CatalogError):  # closed a moment before it was used
                catalog.workers()
                catalog.purge_ended("mycluster", NOW)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        catalog.close()
    ended.set()
    for thread in threads:
        thread.join()

    assert catalog.workers() == []


def test_a_full_disk_is_said_in_words_and_heals(catalog):
    with catalog._file.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(CatalogError, match=r"its filesystem is full, free some space$"):
        for number in range(1000):
            catalog.add_pull(
                NewPull(system="s", image_type="docker", pull_tag=f"a:{number}", format="squashfs"),
                NOW,
            )
    with catalog._file.reading() as connection:
        connection.execute("PRAGMA max_page_count = 100000")

    assert catalog.add_pull(NEW, NOW).pull_tag == "app:1"


def test_a_lock_that_stays_is_said_in_words(path, other, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    impatient = SqliteCatalog(path)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(CatalogError, match="stayed locked"):
        impatient.add_pull(NEW, NOW)

    assert impatient.list_queue("mycluster") == []
    impatient.close()


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_damaged_file_is_said_in_words(path, content):
    path.write_bytes(content)

    with pytest.raises(CatalogError, match="is damaged"):
        SqliteCatalog(path)


def test_a_file_of_a_later_release_is_left_alone(path, catalog, other):
    other.execute("PRAGMA user_version = 99")

    with pytest.raises(CatalogError, match="has format 99"):
        SqliteCatalog(path)


def test_a_directory_that_is_missing_is_said_in_words(tmp_path):
    with pytest.raises(CatalogError, match="No such file or directory"):
        SqliteCatalog(tmp_path / "a" / "b" / "catalog.sqlite")


def test_a_closed_catalog_opens_anew(catalog):
    catalog.add_pull(NEW, NOW)

    catalog.close()

    assert len(catalog.list_queue("mycluster")) == 1


def test_looking_up_an_image_uses_an_index(catalog):
    from shifter_imagegw.catalog.sqlite_rows import READY_ID, READY_TAG

    with catalog._file.reading() as connection:
        plans = [
            row[3]
            for query in (READY_TAG, READY_ID)
            for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ("a", "b", "c"))
        ]

    assert [plan for plan in plans if plan.startswith("SCAN") and "subquery" not in plan] == []


def test_an_idle_worker_takes_no_write_lock(catalog, other):
    from datetime import timedelta

    other.execute("BEGIN IMMEDIATE")

    assert catalog.claim(["mycluster"], "w", timedelta(seconds=5), NOW) is None
