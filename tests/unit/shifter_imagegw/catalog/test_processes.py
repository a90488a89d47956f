# SPDX-License-Identifier: BSD-3-Clause
"""One catalog, many processes, and what is left when one is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import timedelta

import pytest

from shifter_imagegw.records import NewPull

LEASE = timedelta(seconds=600)
NOW = 1_800_000_000.5
PROCESSES = 8
JOBS = 120

_fork = multiprocessing.get_context("fork")


def new_pull(tag):
    return NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")


def run_at_once(target, *arguments):
    """Run `target(number, *arguments)` in several processes at once; what they returned."""
    results = _fork.SimpleQueue()
    barrier = _fork.Barrier(PROCESSES)

    def start(number):
        barrier.wait()
        results.put(target(number, *arguments))

    processes = [_fork.Process(target=start, args=(number,)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return found


def claim_until_none_is_left(number, catalog):
    tags = []
    while claim := catalog.claim(["mycluster"], f"w{number}", LEASE, NOW):
        tags.append(claim.record.pull_tag)
    return tags


def ask_for_all(number, catalog):
    return [catalog.add_pull(new_pull(f"app:{tag}"), NOW + number).key for tag in range(20)]


def test_each_job_is_claimed_by_one_of_many_processes(catalog):
    for job in range(JOBS):
        catalog.add_pull(new_pull(f"app:{job}"), NOW)

    found = run_at_once(claim_until_none_is_left, catalog)

    claimed = [tag for tags in found for tag in tags]
    assert len(claimed) == JOBS
    assert set(claimed) == {f"app:{job}" for job in range(JOBS)}


def test_processes_that_ask_for_one_image_at_once_start_one_pull(catalog):
    found = run_at_once(ask_for_all, catalog)

    assert all(keys == found[0] for keys in found)
    assert len(catalog.list_queue("mycluster")) == 20


def test_processes_that_open_a_new_catalog_at_once_all_succeed(open_catalog):
    def open_and_ask(number):
        return open_catalog().add_pull(new_pull("app:1"), NOW).key

    assert len(set(run_at_once(open_and_ask))) == 1


def test_a_catalog_opened_before_fork_serves_both_sides(catalog):
    catalog.add_pull(new_pull("before:1"), NOW)

    run_at_once(lambda number: catalog.add_pull(new_pull(f"child:{number}"), NOW).key)
    catalog.add_pull(new_pull("after:1"), NOW)

    assert len(catalog.list_queue("mycluster")) == PROCESSES + 2


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_killing_a_writer_loses_nothing_that_it_was_told_is_there(open_catalog, acknowledged):
    catalog = open_catalog()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for number in range(10_000):
                key = catalog.add_pull(new_pull(f"app:{number}"), NOW).key
                os.write(writer, f"{key}\n".encode())
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader) as lines:
        keys = [next(lines).strip() for _ in range(acknowledged)]
        os.kill(pid, signal.SIGKILL)
        keys += [line.strip() for line in lines]
    os.waitpid(pid, 0)

    queue = open_catalog().list_queue("mycluster")

    assert set(keys) <= {record.key for record in queue}
    assert len(queue) <= len(keys) + 1
    assert claim_until_none_is_left(0, catalog) == [record.pull_tag for record in queue]
