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
from tests.integration.catalog.hammer import ROUNDS

ROOT = Path(__file__).parents[3]
HAMMER = [sys.executable, "-m", "tests.integration.catalog.hammer"]
NOW = 1_800_000_000.5
PROCESSES = 8
JOBS = 120


def hammer(action, address):
    """What each of several processes found that did `action` at once."""
    command = [*HAMMER, action, address, str(PROCESSES)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
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


def carriers(catalog):
    """Which contents carry each tag."""
    found = {}
    for image in catalog.list_ready("mycluster"):
        for tag in image.tags:
            found.setdefault(tag, []).append(image.image_id)
    return found


def test_tags_that_many_processes_move_end_where_the_last_has_put_them(catalog, catalog_address):
    published = [event for events in hammer("work", catalog_address) for event in events]

    last = {tag: content for tag, content, _ in sorted(published, key=lambda event: event[2])}
    assert len(published) == PROCESSES * ROUNDS
    assert carriers(catalog) == {tag: [content] for tag, content in last.items()}
    assert {tag: catalog.find_ready("mycluster", "docker", tag).image_id for tag in last} == last
    contents = [image.image_id for image in catalog.list_ready("mycluster")]
    assert len(contents) == len(set(contents))
    assert catalog.workers() == []


def test_images_that_some_expire_while_others_pull_are_never_known_twice(catalog, catalog_address):
    hammer("take_away", catalog_address)

    contents = [image.image_id for image in catalog.list_ready("mycluster")]
    assert len(contents) == len(set(contents))
    assert all(len(images) == 1 for images in carriers(catalog).values())
    assert catalog.workers() == []


def test_of_many_processes_one_at_a_time_holds_an_image(catalog, catalog_address):
    assert hammer("hold", catalog_address) == [1] * PROCESSES


def test_of_many_processes_that_stand_for_a_role_one_is_elected(catalog, catalog_address):
    assert sorted(hammer("elect", catalog_address)) == [False] * (PROCESSES - 1) + [True]


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
        [*HAMMER, "write", catalog_address], stdout=subprocess.PIPE, text=True, cwd=ROOT
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
