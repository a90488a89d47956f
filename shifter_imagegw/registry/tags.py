# SPDX-License-Identifier: BSD-3-Clause
"""Which tags a repository has, as many as somebody wants to see."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

from shifter_imagegw.registry import document
from shifter_imagegw.registry.client import RegistryClient
from shifter_imagegw.registry.name import is_registry_tag, repository_at

_LARGEST_PAGE = 4 << 20  # bytes
_MOST_PAGES = 20  # of one question; whoever wants more asks from where these end
_NEXT = re.compile(r"""<([^<>]*)>\s*;[^,]*\brel\s*=\s*"?next\b""", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class TagPage:
    """Some tags, in the registry's order; `next` is where the next page begins, None at the end."""

    repository: str  # as the registry knows it
    tags: tuple[str, ...]
    next: str | None


def list_tags(client: RegistryClient, repository: str, *, last: str | None, limit: int) -> TagPage:
    """At most `limit` tags of a repository, those after `last`.

    Registries differ: some cannot begin anywhere but at the first tag, some know no pages at all.
    """
    repository = repository_at(client.endpoint, repository)
    found: list[str] = []
    for page, has_more in _pages(client, repository, last, limit):
        found += page
        if len(found) >= limit:
            is_end = len(found) == limit and not has_more
            return TagPage(repository, tuple(found[:limit]), None if is_end else found[limit - 1])
        if not has_more:
            return TagPage(repository, tuple(found), None)
    return TagPage(repository, tuple(found), found[-1] if found else None)


def _pages(
    client: RegistryClient, repository: str, last: str | None, limit: int
) -> Iterator[tuple[list[str], bool]]:
    """Tags after `last`, page by page, and whether there are more."""
    query: str | None = urlencode({"n": limit} | ({} if last is None else {"last": last}))
    sought: str | None = None  # the tag before those that are wanted, where it is still to come
    for number in range(_MOST_PAGES):
        tags, query = _page(client, repository, query or "")
        if number == 0 and last is not None and tags and (last in tags or tags[0] <= last):
            sought = last  # it has begun at the first tag nevertheless: tags come in order
        if sought is not None and sought in tags:
            tags, sought = tags[tags.index(sought) + 1 :], None
        yield ([] if sought is not None else tags), query is not None
        if query is None:
            return


def _page(client: RegistryClient, repository: str, query: str) -> tuple[list[str], str | None]:
    """The tags of one page, and the query for the next."""
    what = f"repository {client.endpoint.label}/{repository}"
    named = f"the list of tags of {what}"

    def read() -> tuple[bytes, list[str]]:
        where = f"tags/list?{query}"
        with client.get(repository, where, {}, what, bound=False) as answer:
            return answer.read_all(_LARGEST_PAGE, named), answer.header_lines("Link")

    data, links = client.attempts().run(read)
    listed = document.load(data, named).get("tags")
    tags = listed if isinstance(listed, list) else []
    return [tag for tag in tags if isinstance(tag, str) and is_registry_tag(tag)], _next_of(links)


def _next_of(links: list[str]) -> str | None:
    """The query of the next page; where it is, is not for the registry to say."""
    for link in links:
        matched = _NEXT.search(link)
        if matched is not None:
            try:
                return urlsplit(matched[1]).query or None
            except ValueError:
                return None
    return None
