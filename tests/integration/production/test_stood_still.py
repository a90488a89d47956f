# SPDX-License-Identifier: BSD-3-Clause
"""Workers that stand still for longer than their leases, as on a host that swaps, and go on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.integration.conftest import wait_until
from tests.integration.production.site import held_pulls

pytestmark = [pytest.mark.registry, pytest.mark.redis, pytest.mark.mongodb]


def signal_all(pids, number):
    for pid in pids:
        os.kill(pid, number)


def files_of(site, images):
    directory = site.image_dir("alpha")
    paths = [directory / f"{image.image_id}.{suffix}" for image in images
             for suffix in ("squashfs", "meta")]  # fmt: skip
    return {path: (found.st_ino, found.st_mtime_ns) for path in paths for found in [path.stat()]}


def test_what_others_have_published_meanwhile_stays_as_it_is(make_site, push_new):
    site = make_site()
    site.start_api()
    site.start_worker("still")
    with held_pulls(site, push_new) as images:
        still = site.children("still")
        signal_all(still, signal.SIGSTOP)
        try:
            with site.open_catalog() as catalog:
                catalog.release(catalog.workers())  # as if their leases had run out
            site.start_worker("successor")
        except BaseException:
            signal_all(still, signal.SIGCONT)
            raise
    ends = {stage: image for stage, image in images.items() if stage != "layer"}
    try:
        # The layer of one is locked by its first worker; the others are published at once.
        for image in ends.values():
            site.wait(image)
        published = files_of(site, ends.values())
    finally:
        signal_all(still, signal.SIGCONT)

    for image in images.values():
        site.assert_pulled_once(image)
        assert site.starts(image) == 2
    wait_until(lambda: site.log("still").count("pull abandoned")
               + site.log("still").count("failure not stored") >= len(images),
               what="the first workers to let go")  # fmt: skip
    assert files_of(site, ends.values()) == published
