# SPDX-License-Identifier: BSD-3-Clause
"""Where the examples of the documentation are typed: the cluster of `tests/cluster`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.cluster import accounts
from tests.integration.docs import stand_ins
from tests.integration.docs.terminal import Terminal

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

# What is there on every page.
ALWAYS = ("docker:ubuntu:24.04", "docker:python:3.12")

_OWNERS = {"alice": accounts.ALICE, "bob": accounts.BOB, "root": 0}


@pytest.fixture(scope="session")
def site(cluster: Cluster) -> Cluster:
    """The cluster, with the images and registries that the pages speak of."""
    stand_ins.push_all(cluster, stand_ins.start_private_registry(cluster))
    return cluster


@pytest.fixture
def as_new(site: Cluster) -> Cluster:
    """Homes as they are at first, no job, and no image but those that are always there."""
    stand_ins.Home(site).renew()
    site.cancel_all()
    site.run("ctl", site.prefix / "sbin/unsetupRoot", "--all", user="root")
    for reference in ALWAYS:
        site.pull(reference)
    keep = {*ALWAYS, site.busybox}
    for user in ("alice", "bob", "root"):
        found = json.loads(site.output("ctl", "shifterimg", "images", "--json", user=user))
        for record in found:
            # One that lost its last name to another is known by its id alone.
            names = [f"{record['itype']}:{tag}" for tag in record["tag"]]
            reference = (names or [f"id:{record['id']}"])[0]
            if reference not in keep:
                site.run("ctl", "shifterimg", "expire", reference, user="root")
    return site


@pytest.fixture
def terminal_of(as_new: Cluster) -> Iterator[Callable[[str], Terminal]]:
    """`terminal_of("alice")`: the one that she has open while she reads a page."""
    open_ones: dict[str, Terminal] = {}
    with contextlib.ExitStack() as stack:

        def terminal_of(user: str) -> Terminal:
            if user not in open_ones:

                def start(*words, env, **options):
                    path = f"{as_new.prefix}/bin:{as_new.prefix}/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
                    more = {"PATH": path} if user == "root" else {}
                    return as_new.start_program("ctl", *words, user=user, env=env | more, **options)

                open_ones[user] = Terminal(start, _OWNERS[user])
                stack.callback(open_ones[user].close)
            return open_ones[user]

        yield terminal_of


@pytest.fixture
def here(site: Cluster) -> Callable[[str], str]:
    """A command as it has to be typed here: Shifter is installed elsewhere than pages say."""
    return lambda text: re.sub(r"/opt/shifter(?![\w-])", str(site.prefix), text)


@pytest.fixture
def there(site: Cluster) -> Callable[[str], str]:
    """The reverse: what is shown, as pages have it."""
    return lambda text: text.replace(str(site.prefix), "/opt/shifter")
