# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway serve` where MongoDB keeps the catalog: any number of them may share it."""

from __future__ import annotations

import pytest

from tests.integration.production.site import PROGRAMS, Site, held_pulls

pytestmark = [pytest.mark.registry, pytest.mark.redis, pytest.mark.mongodb]


def serve(site: Site, name: str, bind: str) -> None:
    site.start(name, [PROGRAMS / "shifter-gateway", "serve", "--bind", bind, "--workers", "5"])


def test_of_two_gateways_on_one_mongodb_one_takes_up_what_the_other_had(make_site, push_new):
    site = make_site()
    serve(site, "killed", "127.0.0.1:0")
    serve(site, "left", f"127.0.0.1:{site.port}")
    site.wait_for_api("left")

    with held_pulls(site, push_new) as images:
        site.kill("killed")

    for image in images.values():
        site.assert_pulled_once(image)
    assert "Broker is not used by serve" in site.log("left")


def test_an_embedded_gateway_survives_a_mongodb_that_is_killed(make_site, push_new, mongo_server):
    site = make_site()
    serve(site, "gateway", f"127.0.0.1:{site.port}")
    site.wait_for_api("gateway")

    with held_pulls(site, push_new) as images:
        mongo_server.kill()
    mongo_server.start()

    for image in images.values():
        site.assert_pulled_once(image)
        assert site.starts(image) == 1
    assert site.stop("gateway") < 10
