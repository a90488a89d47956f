# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-admin addresses`: under which addresses this node can be reached."""

from __future__ import annotations

import dataclasses
import socket

import click

from shifter_cli import output

_UP, _LOOPBACK = 0x1, 0x8  # IFF_ of netdevice(7)
_LINK_LOCAL = 253  # RT_SCOPE_LINK of rtnetlink(7): means nothing to other nodes

_NAMES_UNKNOWN = 3

_EXAMPLES = """\
\b
Examples:
  shifter-admin addresses
  shifter-admin addresses nid00012 nid00013    is one of these this node?
"""


@dataclasses.dataclass(frozen=True)
class Address:
    """An address, and the interface that has it."""

    interface: str
    address: str


def own() -> list[Address]:
    """The addresses of interfaces that are up and lead somewhere."""
    from pyroute2 import IPRoute  # here: it takes longer to load than everything else

    with IPRoute() as routes:
        names = {
            link["index"]: link.get_attr("IFLA_IFNAME")
            for link in routes.get_links()
            if link["flags"] & _UP and not link["flags"] & _LOOPBACK
        }
        return [
            Address(
                names[found["index"]], found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")
            )
            for found in routes.get_addr()
            if found["index"] in names and found["scope"] != _LINK_LOCAL
        ]


def of_name(name: str) -> set[str]:
    """What a name of a node means; nothing where nobody knows it."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):  # the latter: no name that the network knows is like that
        return set()


@click.command("addresses", epilog=_EXAMPLES, short_help="List how other nodes reach this one.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(names: tuple[str, ...], as_json: bool) -> int:
    """List the addresses under which other nodes reach this one, with their interfaces.

    With names of nodes, list those names that are this node's; exit status 1 when none is, 3 when
    nobody knows any of them.
    """
    addresses = own()
    if names:
        known = {each.address for each in addresses}
        meanings = {name: of_name(name) for name in names}
        ours = [name for name in names if not known.isdisjoint(meanings[name])]
        if as_json:
            output.show_json(ours)
        else:
            click.echo("".join(f"{output.printable(name)}\n" for name in ours), nl=False)
        if not any(meanings.values()):
            return _NAMES_UNKNOWN
        return int(not ours)
    if as_json:
        output.show_json([dataclasses.asdict(each) for each in addresses])
    else:
        for each in addresses:
            click.echo(f"{each.interface} {each.address}")
    return 0
