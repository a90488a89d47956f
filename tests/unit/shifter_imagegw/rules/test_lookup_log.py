# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import threading
import time

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import CatalogError, ImageNotFoundError, NotPermittedError
from shifter_imagegw.rules import lookup_log
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice")
UNKNOWN = Caller(uid=2**31 - 7, gid=100)
ADMIN = Caller(uid=0, gid=0, known_name="root")
APP = ImageReference("docker", "app")


@pytest.fixture
def gateway(gateway_with):
    return with_image(gateway_with(Metrics=True))


def with_image(gateway):
    gateway.service.pull(gateway.system, APP, ALICE, Acl())
    gateway.work()
    return gateway


def look(gateway, caller=ALICE, reference=APP):
    return gateway.service.lookup(gateway.system, reference, caller)


def rows(gateway, limit=10, caller=ADMIN):
    return gateway.service.list_lookups(gateway.system, caller, limit)


def test_a_lookup_is_noted(gateway):
    look(gateway)

    (row,) = rows(gateway)

    assert vars(row) == {
        "user": "alice",
        "uid": 1001,
        "system": "mycluster",
        "image_type": "docker",
        "tag": "app:latest",
        "image_id": "a" * 64,
        "time": gateway.clock.now,
    }


def test_the_last_ones_are_shown_oldest_first(gateway):
    for _ in range(5):
        gateway.clock.advance(1)
        look(gateway)

    assert [row.time - gateway.clock.now for row in rows(gateway, limit=3)] == [-2, -1, 0]
    assert rows(gateway, limit=0) == []


def test_a_user_whom_the_gateway_does_not_know_is_noted_by_number(gateway):
    look(gateway, UNKNOWN)

    assert rows(gateway)[0].user == str(UNKNOWN.uid)


def test_what_finds_nothing_or_is_anonymous_is_not_noted(gateway):
    look(gateway, caller=None)
    with pytest.raises(ImageNotFoundError):
        look(gateway, reference=ImageReference("docker", "other"))

    assert rows(gateway) == []


def test_nothing_is_noted_where_the_site_does_not_ask_for_it(gateway_with):
    gateway = with_image(gateway_with())
    look(gateway)

    assert rows(gateway) == []
    assert gateway.catalog.list_lookups("mycluster", 10) == []


def test_only_administrators_see_them(gateway):
    with pytest.raises(NotPermittedError, match="only administrators of mycluster may see"):
        rows(gateway, caller=ALICE)


@pytest.mark.parametrize("error", [CatalogError("its filesystem is full"), ZeroDivisionError()])
def test_a_lookup_does_not_fail_for_want_of_a_row(gateway, monkeypatch, caplog, error):
    def refuse(_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(gateway.catalog, "add_lookup", refuse)
        look(gateway)
        assert rows(gateway) == []  # waits for the one that failed

    look(gateway)
    assert len(rows(gateway)) == 1
    assert "lookup not noted" in caplog.text


def test_a_lookup_does_not_wait_for_a_catalog_that_hangs(gateway, monkeypatch):
    monkeypatch.setattr(lookup_log, "_FLUSH_SECONDS", 0.05)
    go_on = threading.Event()
    noted = []

    def hang(row):
        assert go_on.wait(20)
        noted.append(row)

    monkeypatch.setattr(gateway.catalog, "add_lookup", hang)
    started = time.monotonic()
    for _ in range(50):
        look(gateway)
    rows(gateway)
    assert time.monotonic() - started < 5
    assert noted == []
    go_on.set()

    monkeypatch.setattr(lookup_log, "_FLUSH_SECONDS", 20.0)
    rows(gateway)

    assert len(noted) == 50


def test_rows_that_wait_are_bounded(gateway, monkeypatch):
    monkeypatch.setattr(lookup_log, "_MOST_WAITING", 3)
    go_on = threading.Event()
    noted = []

    class Hanging:
        def add_lookup(self, row):
            assert go_on.wait(20)
            noted.append(row)

    log = lookup_log.LookupLog(Hanging())
    record = look(gateway)
    for _ in range(100):
        log.note(ALICE, record, "app:latest", 1.0)
    go_on.set()
    log.flush()

    assert 3 <= len(noted) <= 4  # one was being written
