# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway gc`, run as it is typed, on a catalog and directories of its own."""

from __future__ import annotations

import json
import os
import time

import pytest
from click.testing import CliRunner

from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.command import main
from shifter_imagegw.operation import orphans
from shifter_imagegw.process_names import machine
from shifter_imagegw.records import NewPull, PullState
from tests.unit.shifter_imagegw.conftest import LEASE, make_image

SYSTEM = "cluster"
DEAD = f"{machine()}:1:1"  # of a process id that is somebody else's
DAY = 86400.0


class Site:
    def __init__(self, directory):
        self.images, self.cache = directory / "images", directory / "cache"
        self.config_path = directory / "imagemanager.json"
        for path in (self.images, self.cache / "sha256"):
            path.mkdir(parents=True)
        self.config_path.write_text(
            json.dumps(
                {
                    "Authentication": "mock",
                    "CacheDirectory": str(self.cache),
                    "CacheSize": 1000,
                    "DefaultImageFormat": "squashfs",
                    "DefaultImageLocation": "docker.io",
                    "Locations": {"docker.io": {}},
                    "Platforms": {SYSTEM: {"imageDir": str(self.images)}},
                }
            )
        )
        self.catalog = SqliteCatalog(self.cache / "catalog.sqlite")

    def gc(self, *arguments):
        environment = {"GWCONFIG": str(self.config_path)}
        return CliRunner().invoke(main, ["gc", *arguments], env=environment)

    def found(self, *arguments):
        result = self.gc("--json", "--dry-run", *arguments)
        assert result.exit_code == 0, result.output
        (system,) = json.loads(result.stdout)["systems"]
        return system

    def pull(self, tag, content, *, expires_in=None):
        """Have an image delivered, which expires then."""
        self.ask(tag)
        claim = self.catalog.claim([SYSTEM], "w", LEASE, time.time())
        record = self.catalog.publish(claim, make_image(content), time.time())
        if expires_in is not None:
            self.catalog.arm_expiration(record, time.time() + expires_in)
        self.store(content)
        return record

    def ask(self, tag):
        new = NewPull(system=SYSTEM, image_type="docker", pull_tag=tag, format="squashfs", puller=1)
        return self.catalog.add_pull(new, time.time())

    def store(self, content, days=3.0):
        path = self.images / f"{content * 64}.squashfs"
        path.write_bytes(b"x" * 2048)
        os.utime(path, (time.time() - days * DAY,) * 2)
        return path


@pytest.fixture
def site(tmp_path, monkeypatch, process_as_before):
    monkeypatch.setattr(orphans, "_NOTICED_AFTER", 0.0)
    return Site(tmp_path)


def test_a_site_without_waste_is_left_as_it_is(site):
    site.pull("app:1", "a", expires_in=DAY)

    result = site.gc("--yes")

    assert result.output == f"{SYSTEM}: nothing to remove\nremoved, or on its way out: 0 B\n"
    assert (site.images / f"{'a' * 64}.squashfs").exists()


def test_images_whose_time_has_come_are_given_to_the_workers(site):
    site.pull("old:1", "a", expires_in=-1.0)
    site.pull("new:1", "b", expires_in=DAY)

    assert [each["image"] for each in site.found()["expired"]] == ["docker:old:1"]
    assert site.gc("--yes").exit_code == 0

    (job,) = site.catalog.list_queue(SYSTEM)
    assert (job.pull_tag, job.state) == ("old:1", PullState.EXPIRING)


def test_files_in_no_record_go_unless_they_are_young(site):
    site.pull("app:1", "a")
    old, young = site.store("b"), site.store("c", days=0.1)

    assert [image["image_id"][0] for image in site.found()["orphans"]] == ["b"]
    site.gc("--yes")

    assert (old.exists(), young.exists()) == (False, True)


def test_with_a_catalog_that_knows_nothing_no_image_goes(site):
    image = site.store("a")

    result = site.gc("--yes")

    assert image.exists()
    assert "left alone: the catalog knows no image" in result.output


def test_half_written_files_of_dead_workers_go(site):
    site.pull("app:1", "a")
    half = site.images / f".{'b' * 64}.squashfs.{DEAD}.partial"
    half.write_bytes(b"half")

    assert site.found()["partial_files"] == [str(half)]
    site.gc("--yes")

    assert not half.exists()


def test_records_of_jobs_that_ended_are_forgotten(site, monkeypatch):
    site.ask("gone:1")
    site.catalog.fail(site.catalog.claim([SYSTEM], "w", LEASE, time.time()), "no such image")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)

    assert site.found()["ended_records"] == 1
    site.gc("--yes")

    assert site.catalog.list_queue(SYSTEM) == []


def test_layers_beyond_the_bound_go(site):
    for number in (1, 2):
        blob = site.cache / "sha256" / (f"{number}" * 64)
        blob.write_bytes(b"x" * 800)

    dry = json.loads(site.gc("--dry-run", "--json").stdout)
    site.gc("--yes")

    assert dry["cache_bytes"] == 600
    assert len([*(site.cache / "sha256").glob("[12]*")]) == 1


def test_a_dry_run_changes_nothing(site):
    site.pull("old:1", "a", expires_in=-1.0)
    orphan = site.store("b")

    result = site.gc("--dry-run")

    assert "expired: docker:old:1" in result.output
    assert result.output.endswith("would go\n")
    assert orphan.exists()
    assert site.catalog.list_queue(SYSTEM) == []


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_nothing_goes_where_nobody_can_be_asked(site, arguments):
    result = site.gc(*arguments)

    assert result.exit_code == 1
    assert "there is nobody to ask: say --yes" in result.output
