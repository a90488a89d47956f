# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import base64
import json

import pytest


@pytest.fixture
def docker_login(tmp_path):
    """`docker_login("example.org")`: bob has logged in there with docker."""

    def keep(host):
        auth = base64.b64encode(b"bob:docker").decode()
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))

    return keep


def sent_logins(payload):
    return json.loads(payload)["authorized_locations"] if payload else {}
