# SPDX-License-Identifier: BSD-3-Clause
"""Options and arguments that several modes have; they stand before or after the mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shifter_cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Function = TypeVar("Function", bound=Callable[..., Any])


def _set_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).verbose = True


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Session).as_json = value


def _add_users(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    ctx.ensure_object(Session).users += values


def _add_groups(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    ctx.ensure_object(Session).groups += values


def verbose_option(function: Function) -> Function:
    return click.option(
        "-v", "--verbose", is_flag=True, help="Show what the gateway answers.",
        expose_value=False, callback=_set_verbose,
    )(function)  # fmt: skip


def access_options(function: Function) -> Function:
    for flags, help_text, callback in (
        (("-g", "--group"), "Groups that may use the image.", _add_groups),
        (("-u", "--user"), "Users that may use the image.", _add_users),
    ):
        function = click.option(
            *flags, metavar="LIST", multiple=True, help=help_text,
            expose_value=False, callback=callback,
        )(function)  # fmt: skip
    return function


def json_option(function: Function) -> Function:
    return click.option(
        "--json", is_flag=True, help="Print JSON for programs.",
        expose_value=False, callback=_set_json,
    )(function)  # fmt: skip


def quiet_option(function: Function) -> Function:
    return click.option(
        "-q", "--quiet", is_flag=True, help="Print nothing but errors; the exit status tells."
    )(function)


def image_argument(function: Function) -> Function:
    """The IMAGE of a mode that takes one, as `image`."""
    return click.argument("image", shell_complete=_complete_image)(function)


def images_argument(function: Function) -> Function:
    """The IMAGEs of a mode that takes several, as `image`."""
    return click.argument("image", nargs=-1, required=True, shell_complete=_complete_image)(
        function
    )


def _complete_image(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    from shifter_cli.completion import names  # here: few commands are being typed

    return names.complete_image(ctx, parameter, incomplete)
