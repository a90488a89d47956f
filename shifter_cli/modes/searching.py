# SPDX-License-Identifier: BSD-3-Clause
"""Which images a registry has."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterator

import click

from shifter_cli import output
from shifter_cli.modes.options import json_option, verbose_option
from shifter_cli.session import Session
from shifter_common.reference import ImageReference

_PAGE = 1000  # tags that one request asks for
_TYPE = "docker:"  # may stand before a repository, as before an image
_MOST_PAGES = 1000  # a registry that never ends is left alone

_EXAMPLES = """\
\b
Examples:
  shifterimg search ubuntu
  shifterimg search 'ubuntu:24*'                 only tags that look like that
  shifterimg search registry.example.org/team/tool
  shifterimg search --limit 0 --json ubuntu | jq -r '.tags[].tag'

Exit status 1 when the registry refuses, or has no such repository.
"""


@click.command(short_help="List the tags of a repository at its registry.", epilog=_EXAMPLES)
@verbose_option
@json_option
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(0), default=100, show_default=True,
    help="How many tags; 0 for all.",
)  # fmt: skip
@click.argument("repository", metavar="REPOSITORY[:PATTERN]")
@click.pass_obj
def search(session: Session, repository: str, limit: int) -> None:
    """List the tags of a repository at its registry, as names that `pull` takes.

    PATTERN may hold *, ? and [...]; quote it. What is on this system already is marked `here`. The
    registry is asked by the gateway, with your login there if you have one.
    """
    wanted, pattern = _split(session, repository)
    here = _here(session, wanted)
    matching = _matching(session, wanted, pattern)
    shown = list(itertools.islice(matching, limit or None))
    is_all = limit == 0 or next(matching, None) is None
    if session.as_json:
        output.show_json(
            {
                "repository": str(wanted),
                "tags": [{"tag": tag, "here": tag in here} for tag in shown],
                "complete": is_all,
            }
        )
        return
    names = [(f"{wanted.tag}:{tag}", tag in here) for tag in shown]
    widest = max((len(name) for name, _ in names), default=0)
    for name, is_here in names:
        output.say(output.printable(f"{name:<{widest}}  here" if is_here else name))
    if not is_all:
        output.complain(f"there are more: --limit 0 lists all, {wanted.tag}:PATTERN some")
    if not names:
        output.complain(f"{wanted.tag} has no tag" + (f" like {pattern!r}" if pattern else ""))


def _split(session: Session, text: str) -> tuple[ImageReference, str]:
    """The repository, and the pattern after the colon of its last component."""
    path, slash, last = text.rpartition("/")
    if not slash and last.startswith(_TYPE):
        path, last = _TYPE, last.removeprefix(_TYPE)
    name, _, pattern = last.partition(":")
    return session.reference(f"{path}{slash}{name}"), pattern


def _matching(session: Session, wanted: ImageReference, pattern: str) -> Iterator[str]:
    last = None
    for _ in range(_MOST_PAGES):
        page = session.gateway.tags(wanted, last, _PAGE)
        for tag in page.tags:
            if not pattern or fnmatch.fnmatchcase(tag, pattern):
                yield tag
        if page.next is None or page.next == last:
            return
        last = page.next


def _here(session: Session, wanted: ImageReference) -> set[str]:
    """The tags of the repository that are on this system."""
    start = f"{wanted.tag}:"
    return {
        tag.removeprefix(start)
        for record in session.gateway.images()
        if record.image_type == wanted.image_type
        for tag in record.tags
        if tag.startswith(start)
    }
