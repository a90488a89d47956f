# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os

import pytest

from shifter_imagegw.catalog.per_process import opened_when_asked
from shifter_imagegw.errors import CatalogError


class Catalog:
    """Says in which process it was opened."""

    def __init__(self):
        self.opened_in = os.getpid()

    def workers(self):
        return [str(self.opened_in)]

    def close(self):
        pass


def workers_seen_by_a_child(catalog):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, ",".join(catalog.workers()).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with open(reading) as said:
        return pid, said.read()


def test_nothing_is_opened_before_it_is_asked_for():
    opened = []

    opened_when_asked(lambda: opened.append(True))

    assert opened == []


def test_one_process_opens_one_catalog():
    opened = []
    catalog = opened_when_asked(lambda: opened.append(True) or Catalog())

    assert catalog.workers() == catalog.workers() == [str(os.getpid())]
    assert opened == [True]


def test_a_child_opens_its_own():
    catalog = opened_when_asked(Catalog)
    catalog.workers()

    child, seen = workers_seen_by_a_child(catalog)

    assert seen == str(child)
    assert catalog.workers() == [str(os.getpid())]


def test_a_catalog_that_cannot_be_opened_is_tried_again():
    answers = [CatalogError("away"), Catalog()]

    def open_catalog():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    catalog = opened_when_asked(open_catalog)

    with pytest.raises(CatalogError, match="away"):
        catalog.workers()
    assert catalog.workers() == [str(os.getpid())]


def test_it_has_what_a_catalog_has_and_nothing_else():
    with pytest.raises(AttributeError):
        opened_when_asked(Catalog).no_such_method()
