# SPDX-License-Identifier: BSD-3-Clause
"""What only the SQLite catalog can suffer."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import stat
import threading
from datetime import timedelta

import pytest

from shifter_imagegw.catalog import sqlite, sqlite_file, sqlite_schema
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.errors import CatalogError
from shifter_imagegw.records import JobKind, Lookup, NewPull

NOW = 1_800_000_000.5
LOOKUP = Lookup(
    user="alice",
    uid=1001,
    system="mycluster",
    image_type="docker",
    tag="app:1",
    image_id="a" * 64,
    time=NOW,
)
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


def version_1(path):
    """A file as the first release made it, with an image and a pull in flight."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(sqlite_schema._VERSION_1)
    names = "system, image_type, pull_tag, state, format, architecture, os, image_id, last_pull"
    for key, state in ((1, "READY"), (2, "PENDING")):
        connection.execute(
            f"INSERT INTO images ({names}) VALUES"
            " ('mycluster', 'docker', ?, ?, 'squashfs', 'amd64', 'linux', ?, ?)",
            (f"app:{key}", state, "a" * 64 if state == "READY" else None, NOW),
        )
    connection.execute("INSERT INTO tags VALUES ('mycluster', 'docker', 'app:1', 1)")
    connection.close()


def test_a_file_of_the_first_release_is_taken_over(path):
    version_1(path)

    for _ in range(2):
        catalog = SqliteCatalog(path)
        record = catalog.find_ready("mycluster", "docker", "app:1")
        assert (record.key, record.digest, record.is_import) == ("1", None, False)
        catalog.check()
        catalog.close()
    claim = catalog.claim(["mycluster"], "w", timedelta(seconds=5), NOW)
    assert claim.record.pull_tag == "app:2"
    assert catalog.hold(claim, "b" * 64, NOW)
    catalog.close()


def test_images_of_the_first_release_are_looked_at_shared_and_their_jobs_ended(path):
    version_1(path)
    catalog = SqliteCatalog(path)
    image = catalog.find_ready("mycluster", "docker", "app:1")
    (pull,) = catalog.list_queue("mycluster")

    assert catalog.find_details("mycluster", "a" * 64) is None
    assert (image.since, pull.since, pull.kind) == (None, None, JobKind.PULL)
    assert catalog.cancel(pull, "cancelled", NOW)
    new = dataclasses.replace(NEW, user_acl=(5,), acl_image="a" * 64, puller=5)
    catalog.add_pull(new, NOW)
    claim = catalog.claim(["mycluster"], "w", timedelta(seconds=5), NOW)
    assert catalog.set_acl(claim).user_acl == (5,)
    catalog.close()


def test_a_takeover_that_is_cut_off_is_begun_anew(path, monkeypatch):
    version_1(path)
    with monkeypatch.context() as patch:
        broken = (sqlite_schema._VERSION_1, sqlite_schema._VERSION_2 + "broken;")
        patch.setattr(sqlite_file, "STEPS", broken)
        with pytest.raises(CatalogError):
            SqliteCatalog(path)

    catalog = SqliteCatalog(path)

    assert catalog.find_ready("mycluster", "docker", "app:1") is not None
    catalog.close()


def test_lookups_wait_for_no_disk_and_what_follows_does_again(catalog):
    catalog.add_lookup(LOOKUP)

    with catalog._file.reading() as connection:
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    assert synchronous == 2
    assert catalog.list_lookups("mycluster", 5) == [LOOKUP]


def test_the_oldest_lookups_make_room(catalog, monkeypatch):
    monkeypatch.setattr(sqlite, "_LOOKUPS_KEPT", 500)

    for _ in range(1001):
        catalog.add_lookup(LOOKUP)

    assert len(catalog.list_lookups("mycluster", 10_000)) == 501


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
    other.execute("BEGIN IMMEDIATE")

    assert catalog.claim(["mycluster"], "w", timedelta(seconds=5), NOW) is None
