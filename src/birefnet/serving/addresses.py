"""Which addresses the server may fetch from when a request asks for it: those of the public internet, and no others.

A name or a number is resolved once, every address it has is judged, and the connection goes to an address that was
judged: a name whose second answer differs from its first gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from birefnet.serving.refusal import Refusal, readable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""(name, port) -> the IP addresses it has, as text."""

PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Addresses that the standard library of some supported Python versions takes for public.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24"),
        *("64:ff9b:1::/48", "2001::/23", "100::/64", "fec0::/10"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to ask, after everything was judged.

    Attributes:
        scheme: "http" or "https".
        host: the name, in ASCII; for the header `Host` and the certificate.
        address: the IP address to connect to.
        port: 80 or 443.
        target: path and query.
    """

    scheme: str
    host: str
    address: str
    port: int
    target: str


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet, those hidden in IPv6 addresses included."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        hidden = _hidden(address)
        if hidden is not None:
            return is_public(str(hidden))
    if any(address.version == net.version and address in net for net in _SPECIAL):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    )


def _hidden(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, NAT64 or the old compatible form."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or int(address) >> 32 == 0:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def resolve(host: str, port: int) -> Sequence[str]:
    """All IP addresses of a name, as this system finds them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def judge(url: str, resolve: Resolve) -> Place:
    """Take an address apart, resolve its name, and refuse what is not public.

    Raises:
        Refusal: (422) if nothing may be fetched from there.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except (ValueError, UnicodeError):
        raise _refused("is no address of the web") from None
    if parts.scheme not in PORTS:
        raise _refused("begins neither with http:// nor with https://")
    if parts.username is not None or parts.password is not None:
        raise _refused("holds a user name, which is not sent on")
    if not host or any(not character.isprintable() or character in " /\\@" for character in host):
        raise _refused("names no server")
    if port not in (None, PORTS[parts.scheme]):
        raise _refused("names a port; only the usual ones, 80 and 443, are asked")
    port = PORTS[parts.scheme]
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise _refused(f"names a server that is not known: {readable(host)[:80]}")
    if not all(is_public(address) for address in addresses):
        raise _refused("does not lead to the public internet")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Place(scheme=parts.scheme, host=host, address=addresses[0], port=port, target=target)


def _refused(why: str) -> Refusal:
    return Refusal(422, f"Nothing is fetched from there: the address {why}.", kind="file_download_error")
