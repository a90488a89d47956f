# SPDX-License-Identifier: BSD-3-Clause
"""One catalog, many processes, and what is left when one is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from shifter_imagegw.records import NewPull

HAMMER = Path(__file__).with_name("hammer.py")
NOW = 1_800_000_000.5
PROCESSES = 8
JOBS = 120


def hammer(action, address):
    """What each of several processes found that did `action` at once."""
    command = [sys.executable, HAMMER, action, address, str(PROCESSES)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def ask(catalog, tag):
    new = NewPull(system="mycluster", image_type="docker", pull_tag=tag, format="squashfs")
    return catalog.add_pull(new, NOW)


def test_each_job_is_claimed_by_one_of_many_processes(catalog, catalog_address):
    for job in range(JOBS):
        ask(catalog, f"app:{job}")

    found = hammer("claim", catalog_address)

    claimed = [tag for tags in found for tag in tags]
    assert len(claimed) == JOBS
    assert set(claimed) == {f"app:{job}" for job in range(JOBS)}


def test_processes_that_ask_for_one_image_at_once_start_one_pull(catalog, catalog_address):
    found = hammer("same", catalog_address)

    assert all(keys == found[0] for keys in found)
    assert len(catalog.list_queue("mycluster")) == 20


def test_processes_that_open_a_new_catalog_at_once_all_succeed(catalog_address):
    assert len(set(hammer("open_anew", catalog_address))) == 1


def test_a_catalog_opened_before_fork_serves_every_child(catalog, catalog_address):
    found = hammer("own", catalog_address)

    assert {record.key for record in catalog.list_queue("mycluster")} == set(found)
    assert len(found) == PROCESSES


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_killing_a_writer_loses_nothing_that_it_was_told_is_there(
    open_catalog, catalog_address, acknowledged
):
    writer = subprocess.Popen(
        [sys.executable, HAMMER, "write", catalog_address], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    with writer.stdout as lines:
        keys = [next(lines).strip() for _ in range(acknowledged)]
        writer.kill()
        # A line that was cut off was still being said.
        keys += [line.strip() for line in lines if line.endswith("\n")]
    writer.wait()

    catalog = open_catalog()
    queue = catalog.list_queue("mycluster")

    assert set(keys) <= {record.key for record in queue}
    assert len(queue) <= len(keys) + 1
    claims = [catalog.claim(["mycluster"], "w", timedelta(hours=1), NOW) for _ in queue]
    assert [claim and claim.record.key for claim in claims] == [record.key for record in queue]
