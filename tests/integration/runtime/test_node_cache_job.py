# SPDX-License-Identifier: BSD-3-Clause
"""perNodeCache of a batch job: made once on the node, and shared by the job's launches."""

from __future__ import annotations

import pytest

from tests.integration.runtime.node import host_state, wait_until

pytestmark = pytest.mark.root

CACHE = "/x:/mnt:perNodeCache=size=300M"


@pytest.fixture
def caches(batch):
    """A perNodeCachePath of the node's; nothing may be in it at the end."""
    path = batch.node.prefix / "caches"
    path.mkdir()
    path.chmod(0o1733)
    batch.node.configure(perNodeCachePath=path)
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


def set_up(batch, *words):
    done = batch.setup("-v", CACHE, *words)
    assert (done.returncode, done.stderr) == (0, "")


def wait_until_released(caches):
    wait_until(lambda: not files_in_use(caches))


def files_in_use(caches):
    return [line for line in host_state(caches) if "(deleted)" in line]


def test_launches_of_a_job_share_one(batch, caches):
    set_up(batch)

    done = batch.shifter(f"-V{CACHE}", "touch", "/mnt/from-the-first")
    assert (done.returncode, done.stderr) == (0, "")
    assert batch.shifter(f"-V{CACHE}", "ls", "/mnt").stdout == "from-the-first\n"
    assert len(files_in_use(caches)) == 1


def test_a_launch_that_asks_for_another_size_has_its_own(batch, caches):
    set_up(batch)
    batch.shifter(f"-V{CACHE}", "touch", "/mnt/file")

    assert batch.shifter("-V/x:/mnt:perNodeCache=size=301M", "ls", "/mnt").stdout == ""


def test_it_goes_when_the_job_is_taken_down(batch, caches):
    set_up(batch)

    assert batch.unsetup().returncode == 0

    wait_until_released(caches)


def test_jobs_on_one_node_have_one_each(batch, caches):
    for job in ("1", "2"):
        set_up(batch, "--job", job)
        batch.shifter(f"-V{CACHE}", "touch", f"/mnt/{job}", job=job)

    for job in ("1", "2"):
        assert batch.shifter(f"-V{CACHE}", "ls", "/mnt", job=job).stdout == f"{job}\n"
        assert batch.unsetup("--job", job).returncode == 0
    wait_until_released(caches)


def test_a_setup_that_fails_later_leaves_no_cache(batch, caches):
    done = batch.setup("-v", CACHE, "-v", "/no/such/source:/data")

    assert done.returncode == 1
    wait_until_released(caches)
