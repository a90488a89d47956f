# SPDX-License-Identifier: BSD-3-Clause
"""Which network addresses a registry may send the gateway to.

The gateway stands inside the site. A registry that redirects a download to 169.254.169.254 or to
localhost, or names such a token server, would make it ask there on a stranger's behalf. The check
is on the address that the connection then uses, so a name cannot be resolved twice to two answers.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection

import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions

from shifter_imagegw.registry.errors import RegistryError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of a site's own, though Python counts them as global: what translators use inside (RFC 8215),
# and the addresses that IPv6 had for sites first (RFC 3879).
_LOCAL = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("fec0::/10"))
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


def kind(address: str) -> str:
    """What network `address` is in: public, private, loopback, link-local, or special."""
    ip = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if ip.is_loopback or ip.is_unspecified:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "special"
    if any(ip in network for network in _LOCAL) or not ip.is_global:
        return "private"
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return "special"  # nobody has been given those; some stand for an IPv4 address
    return "public"


def kinds_of_host(host: str) -> frozenset[str]:
    """The networks that `host` is in; none where it cannot be resolved from here."""
    try:
        return frozenset(kind(address) for address in _resolve(host, None))
    except (OSError, UnicodeError):
        return frozenset()


def require_reachable(host: str, allowed: Collection[str]) -> None:
    """Refuse a host given as an address outside `allowed`: for requests that a proxy resolves."""
    name = host.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        _require(host, "127.0.0.1", allowed)
    address = _address_in(name)
    if address is not None:
        _require(host, address, allowed)


def guarded_pools(
    allowed: Collection[str],
) -> dict[str, type[urllib3.connectionpool.HTTPConnectionPool]]:
    """Connection pools by scheme that connect only to addresses of the kinds `allowed`."""

    class GuardedConnection(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, super()._new_conn, allowed)

    class GuardedTlsConnection(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connect(self, super()._new_conn, allowed)

    class GuardedPool(urllib3.connectionpool.HTTPConnectionPool):
        ConnectionCls = GuardedConnection

    class GuardedTlsPool(urllib3.connectionpool.HTTPSConnectionPool):
        ConnectionCls = GuardedTlsConnection

    return {"http": GuardedPool, "https": GuardedTlsPool}


def _connect(
    connection: urllib3.connection.HTTPConnection,
    connect: Callable[[], socket.socket],
    allowed: Collection[str],
) -> socket.socket:
    name, port = connection.host, connection.port
    try:
        addresses = _resolve(name, port)
    except (OSError, UnicodeError):
        return connect()  # fails in the same way, with urllib3's own error
    for address in addresses:
        _require(name, address, allowed)
    failure: Exception | None = None
    for address in addresses:
        # Name and certificate stay those of the host; only the lookup is replaced.
        connection.host = address
        try:
            return connect()
        except urllib3.exceptions.HTTPError as error:
            failure = error
        finally:
            connection.host = name
    raise failure or urllib3.exceptions.NewConnectionError(connection, "no address")


def _require(host: str, address: str, allowed: Collection[str]) -> None:
    found = kind(address)
    if found != "public" and found not in allowed:
        raise RegistryError(
            f"the registry refers to {host}, which is a {found} address: the gateway does not "
            "follow it there"
        )


def _address_in(name: str) -> str | None:
    """The address that `name` is, however it is written: 127.1 and 2130706433 are one, too."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, UnicodeError):
        return None


def _resolve(host: str, port: int | None) -> list[str]:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def _innermost(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
