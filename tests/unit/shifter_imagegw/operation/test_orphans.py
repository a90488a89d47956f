# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from datetime import timedelta

import pytest

from shifter_imagegw.delivery import StoredImage
from shifter_imagegw.delivery.opening import open_delivery
from shifter_imagegw.operation import orphans
from shifter_imagegw.records import PullState
from tests.unit.shifter_imagegw.conftest import make_image

DAY = timedelta(days=1)
OLD = 2 * 86400.0


@pytest.fixture
def delivery(gateway):
    gateway.system.image_dir.mkdir()
    return open_delivery(gateway.system, gateway.config)


def stored(image_id, *, age=OLD):
    return StoredImage(image_id=image_id, format="squashfs", size=1, age=age, has_metadata=True)


def store(gateway, image_id):
    """Put an image where it lies when it is delivered."""
    for suffix in ("squashfs", "meta"):
        (gateway.system.image_dir / f"{image_id}.{suffix}").write_bytes(b"x" * 200)
    return stored(image_id)


def ready(gateway, content="a"):
    gateway.request("POST", f"/api/pull/mycluster/docker/{content}:1/")
    record = gateway.work(content)
    assert record.image_id is not None
    return record


def found(gateway, *images):
    return orphans.find(gateway.catalog, "mycluster", images, DAY)


def test_an_image_that_no_record_knows_is_an_orphan(gateway):
    older, old = stored("b" * 64, age=3 * OLD), stored("a" * 64)

    assert found(gateway, old, older) == [older, old]


def test_a_young_image_may_be_on_its_way_to_its_record(gateway):
    assert found(gateway, stored("a" * 64, age=DAY.total_seconds() - 1)) == []


def test_an_image_that_is_ready_is_none(gateway):
    record = ready(gateway)

    assert found(gateway, stored(record.image_id)) == []


def test_an_image_that_is_being_removed_is_none(gateway):
    record = ready(gateway)
    gateway.catalog.add_expire(record)

    assert found(gateway, stored(record.image_id)) == []


def test_an_image_that_has_expired_and_is_still_there_is_one(gateway):
    record = ready(gateway)
    gateway.catalog.add_expire(record)
    gateway.catalog.finish_expire(gateway.claim())

    assert len(found(gateway, stored(record.image_id))) == 1


def test_a_record_of_another_system_knows_nothing_here(gateway):
    record = ready(gateway)

    assert len(orphans.find(gateway.catalog, "other", [stored(record.image_id)], DAY)) == 1


def test_orphans_are_removed_and_nothing_else(gateway, delivery):
    orphan, other = store(gateway, "a" * 64), store(gateway, "b" * 64)

    went, misled = orphans.remove(gateway.catalog, "mycluster", delivery, [orphan], lambda _: None)

    assert (went, misled) == ([orphan], [])
    assert {path.name for path in gateway.system.image_dir.iterdir()} == {
        f"{other.image_id}.squashfs",
        f"{other.image_id}.meta",
    }


def test_what_became_ready_since_it_was_found_stays(gateway, delivery):
    record = ready(gateway)
    image = store(gateway, record.image_id)

    went, _ = orphans.remove(gateway.catalog, "mycluster", delivery, [image], lambda _: None)

    assert went == []
    assert len(list(gateway.system.image_dir.iterdir())) == 2


def test_a_pull_that_took_an_orphan_for_delivered_is_sent_to_expire(gateway, delivery):
    """It had looked for the image before that went, and ends while the command waits."""
    gateway.request("POST", "/api/pull/mycluster/docker/a:1/")
    claim = gateway.claim()
    gateway.catalog.report(claim, PullState.TRANSFER, "Transferring metadata")
    image_id = make_image("a").image_id
    orphan = store(gateway, image_id)
    waits: list[float] = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 4:
            gateway.catalog.publish(claim, make_image("a"), gateway.clock.now)

    went, misled = orphans.remove(gateway.catalog, "mycluster", delivery, [orphan], wait)

    assert went == [orphan]
    assert [record.image_id for record in misled] == [image_id]
    assert gateway.catalog.list_ready("mycluster") == []
    assert len(waits) == 4


def test_a_delivery_that_never_ends_is_not_waited_for_for_ever(gateway, delivery):
    gateway.request("POST", "/api/pull/mycluster/docker/a:1/")
    gateway.catalog.report(gateway.claim(), PullState.TRANSFER, "Transferring image")
    waits: list[float] = []

    orphans.remove(gateway.catalog, "mycluster", delivery, [store(gateway, "a" * 64)], waits.append)

    assert 60 < sum(waits) < 200
