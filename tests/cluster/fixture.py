# SPDX-License-Identifier: BSD-3-Clause
"""`cluster`: one for all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster
    from tests.integration.installation import Installation


@pytest.fixture(scope="session")
def cluster(installation: Installation) -> Iterator[Cluster]:
    from tests.cluster.cluster import Cluster  # which builds on the conftest that imports this

    cluster = Cluster(installation.prefix)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
