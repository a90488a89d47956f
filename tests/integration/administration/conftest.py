# SPDX-License-Identifier: BSD-3-Clause
"""shifter-admin as installed on a node, and a gateway that runs on the same host."""

from __future__ import annotations

import contextlib
import json
import subprocess

import pytest

from tests.integration.conftest import SYSTEM, gateways


@pytest.fixture(scope="module")
def admin_gateway(registry, munged, tmp_path_factory):
    """A gateway that keeps who looks up what."""
    with gateways(registry, munged, tmp_path_factory) as make:
        yield make(Metrics=True)


@pytest.fixture
def site(node, munged, admin_gateway):
    """A node whose udiRoot.conf names the gateway; its imagemanager.json lies beside that."""
    node.configure(
        system=SYSTEM, imageGateway=admin_gateway.url, mungeSocketPath=munged, gatewayTimeout=20
    )
    beside = node.config.with_name("imagemanager.json")
    was = beside.read_bytes() if beside.exists() else None
    beside.write_text(json.dumps(admin_gateway.config))
    yield node
    if was is None:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    else:
        beside.write_bytes(was)


@pytest.fixture
def admin(site):
    """Run the installed shifter-admin."""

    def run(*arguments, **options):
        return subprocess.run(
            [site.prefix / "bin/shifter-admin", *arguments],
            capture_output=True, text=True, timeout=120, check=False,
            **{"stdin": subprocess.DEVNULL, "env": {"PATH": "/usr/sbin:/usr/bin"}} | options,
        )  # fmt: skip

    return run
