# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import json

import pytest

from shifter_imagegw.registry import (
    ManifestNotFoundError,
    RegistryError,
    RegistryNotPermittedError,
    list_tags,
)
from tests.unit.shifter_imagegw.registry.fake_registry import Reply

TAGS = [f"v{number:02}" for number in range(10)]
PAGES = ["by tag", "by token", "none"]


@pytest.fixture(autouse=True)
def image(registry):
    for tag in TAGS:
        registry.add_image(tag=tag)


def page(connect, registry, *, last=None, limit=100, credentials=None):
    return list_tags(connect(registry, credentials), "ns/app", last=last, limit=limit)


@pytest.mark.parametrize("pages", PAGES)
@pytest.mark.parametrize("limit", [1, 3, 9, 10, 11])
def test_following_pages_leads_to_every_tag_once(registry, connect, pages, limit):
    registry.pages = pages
    found, last = [], None
    for _ in range(12):
        seen = page(connect, registry, last=last, limit=limit)
        found += seen.tags
        last = seen.next
        assert len(seen.tags) <= limit
        if last is None:
            break

    assert (found, seen.repository, last) == (TAGS, "ns/app", None)


@pytest.mark.parametrize("pages", PAGES)
def test_after_the_last_there_are_none(registry, connect, pages):
    registry.pages = pages

    seen = page(connect, registry, last="v09")

    assert (seen.tags, seen.next) == ((), None)


def test_the_next_page_is_asked_of_the_registry_whatever_host_it_names(
    registry, connect, other_host
):
    registry.pages, registry.link_host = "by token", other_host.url
    registry.script("tags/list?n=100", Reply(200, b'{"tags": ["a"]}', {
        "Link": f'<{other_host.url}/v2/other/tags/list?n=100&token=5>; rel="next"'}))  # fmt: skip

    assert page(connect, registry).tags == ("a", "v05", "v06", "v07", "v08", "v09")
    assert other_host.requests == []


def test_names_that_can_be_no_tag_are_left_out(registry, connect):
    hostile = ["ok", "\x1b[2J", "a b", "x" * 200, "../..", "", 5, None, {"a": 1}, "<script>"]
    registry.script("tags/list", Reply(200, json.dumps({"tags": hostile}).encode()))

    assert page(connect, registry).tags == ("ok",)


@pytest.mark.parametrize("content", [b"{}", b'{"tags": null}', b'{"tags": {"a": 1}}'])
def test_a_registry_without_tags_has_none(registry, connect, content):
    registry.script("tags/list", Reply(200, content))

    assert page(connect, registry) == list_tags(connect(registry), "ns/app", last="v09", limit=5)


def test_a_list_without_end_is_cut_off(registry, connect):
    for number in range(100):
        link = {"Link": f'</v2/ns/app/tags/list?n=100&token={number}>; rel="next"'}
        registry.script("tags/list", Reply(200, b'{"tags": ["a"]}', link))

    seen = page(connect, registry)

    assert (len(seen.tags), seen.next) == (20, "a")


@pytest.mark.parametrize(
    "content", [b"[]", b"nonsense", b"[" * 100_000, b'{"a":' + b"1" * (5 << 20)]
)
def test_what_is_no_list_is_refused(registry, connect, content):
    registry.script("tags/list", Reply(200, content))

    with pytest.raises(RegistryError):
        page(connect, registry)


def test_a_repository_that_is_not_there_is_said_to_be_so(registry, connect):
    with pytest.raises(ManifestNotFoundError, match="there is no repository .*/ns/none"):
        list_tags(connect(registry), "ns/none", last=None, limit=5)


def test_a_private_repository_shows_its_tags_to_who_may_read_it(tls_registry, connect, alice):
    tls_registry.add_image(tag="v1")
    tls_registry.access = "bearer"

    assert page(connect, tls_registry, credentials=alice).tags == ("v1",)
    with pytest.raises(RegistryNotPermittedError, match="shifterimg login site"):
        page(connect, tls_registry)
