# SPDX-License-Identifier: BSD-3-Clause
"""Who may use an image."""

from __future__ import annotations

import click

from shifter_cli import inspection, output
from shifter_cli.access import AccessLists
from shifter_cli.errors import AccessListError
from shifter_cli.gateway.records import ImageRecord
from shifter_cli.modes.options import image_argument, json_option, verbose_option
from shifter_cli.progress import pulls
from shifter_cli.progress.forms import QuietProgress
from shifter_cli.progress.transfer import TransferProgress
from shifter_cli.session import Session
from shifter_common.reference import ImageReference

_EXAMPLES = """\
\b
Examples:
  shifterimg acl app:1                            who may use it
  shifterimg acl app:1 --add-user alice,bob
  shifterimg acl app:1 --remove-group lab
  shifterimg acl app:1 --set-user alice --set-group lab
  shifterimg acl app:1 --private                  only you
  shifterimg acl app:1 --private --add-group lab  only you and your group
  shifterimg acl app:1 --public                   everybody
"""

_CHANGES = (
    ("add", "Let these use it, too."),
    ("remove", "Let these not use it any more."),
    ("set", "Let nobody else use it."),
)


def _list_options(function: click.decorators.FC) -> click.decorators.FC:
    for change, help_text in reversed(_CHANGES):
        for kind in ("group", "user"):
            function = click.option(
                f"--{change}-{kind}", metavar="LIST", multiple=True, help=help_text
            )(function)
    return function


@click.command(short_help="Show or change who may use an image.", epilog=_EXAMPLES)
@verbose_option
@json_option
@_list_options
@click.option("--public", is_flag=True, help="Let everybody use it.")
@click.option("--private", is_flag=True, help="Let only the owner and those added use it.")
@image_argument
@click.pass_obj
def acl(
    session: Session, /, image: str, *, public: bool, private: bool, **lists: tuple[str, ...]
) -> None:
    """Show who may use IMAGE, or change that, and wait until all nodes know.

    Who pulled or imported an image first is its owner: only the owner and administrators may
    change its lists, and the owner is always on them. LISTs are names or numbers joined by commas.
    """
    reference = session.reference(image)
    failing = f"cannot tell who may use {reference}"
    record = ImageRecord.from_wire(session.gateway.inspect(reference, failing))
    if public or private or any(lists.values()):
        access = _asked(reference, record, lists, public=public, private=private)
        record = _changed(session, reference, access, public=public)
    if session.as_json:
        output.show_json(
            {
                "public": not record.is_restricted,
                "users": list(record.user_acl),
                "groups": list(record.group_acl),
                "owner": record.puller,
            }
        )
        return
    output.say_lines([output.printable(line) for line in _lines(record)])


def _asked(
    reference: ImageReference,
    record: ImageRecord,
    lists: dict[str, tuple[str, ...]],
    *,
    public: bool,
    private: bool,
) -> AccessLists:
    """The lists as they are to be."""
    if public:
        if private or any(lists.values()):
            raise click.UsageError("--public goes with no other list: it is for everybody")
        return AccessLists()
    to_set, to_add, to_remove = (
        AccessLists.parse(lists[f"{change}_user"], lists[f"{change}_group"])
        for change in ("set", "add", "remove")
    )
    is_new = private or bool(to_set.uids or to_set.gids)
    if not is_new and not record.is_restricted:
        raise AccessListError(
            f"everybody may use {reference}: with --private, only its owner and those whom you "
            "add may"
        )
    before = AccessLists() if is_new else AccessLists(record.user_acl, record.group_acl)
    return AccessLists(
        uids=_merged(before.uids, (*to_set.uids, *to_add.uids), to_remove.uids),
        gids=_merged(before.gids, (*to_set.gids, *to_add.gids), to_remove.gids),
    )


def _merged(
    before: tuple[int, ...], more: tuple[int, ...], less: tuple[int, ...]
) -> tuple[int, ...]:
    return tuple(dict.fromkeys(i for i in (*before, *more) if i not in less))


def _changed(
    session: Session, reference: ImageReference, access: AccessLists, *, public: bool
) -> ImageRecord:
    """Ask until it is done: before, nodes may still go by the old lists."""
    display = TransferProgress(str(reference))
    last: list[ImageRecord] = []

    def ask(reference: ImageReference) -> ImageRecord:
        record = session.gateway.set_access(reference, access, public=public)
        display.show(record.state, message=record.message)
        last[:] = [record]
        return record

    try:
        pulls.wait(ask, [reference], QuietProgress())
    finally:
        display.end()
    return last[0]


def _lines(record: ImageRecord) -> list[str]:
    if not record.is_restricted:
        return ["everybody"]
    names = inspection.access_of(record)
    if record.puller is None:
        return names
    owner = f"user {output.user_name(record.puller)}"
    return [f"{owner} (owner)", *(name for name in names if name != owner)]
