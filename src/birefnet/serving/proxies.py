"""What proxies in front of the server say of a request, and which of them are believed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from birefnet.errors import ConfigError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

LOCAL = ("127.0.0.1", "::1")
ANYBODY = "*"
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_NOT_IN_PATHS = re.compile(r"[\x00-\x1f\x7f\\?#]|://")


class Outside(NamedTuple):
    """A request as its client sent it, where that is known; None where it is as it arrived."""

    scheme: str | None = None
    host: str | None = None  # with its port, unless that is the usual one
    prefix: str | None = None  # the path below which the proxy shows this server, as `parse_prefix` gives it


class Proxies:
    """The proxies whose `X-Forwarded-*` headers are believed.

    Args:
        trusted: their addresses, or networks of them ("10.0.0.0/8"); "*" for everybody.

    Raises:
        ConfigError: for what is neither.
    """

    def __init__(self, trusted: Iterable[str] = LOCAL) -> None:
        names = [name.strip() for text in trusted for name in text.split(",") if name.strip()]
        self._anybody = ANYBODY in names
        self._networks = [_network(name) for name in names if name != ANYBODY]

    def trust(self, scope: Scope) -> bool:
        """Whether a request comes straight from one of them."""
        if self._anybody:
            return True
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 client of a socket for both
        return any(one in network for one in (address, mapped) if one is not None for network in self._networks)

    def outside(self, scope: Scope) -> Outside:
        """What they say of a request; of a list, the first is what the client saw."""
        if not self.trust(scope):
            return Outside()
        scheme, host = (_first(_told(scope, name)) for name in ("proto", "host"))
        scheme = scheme.lower()
        return Outside(
            scheme=scheme if scheme in ("http", "https") else None,
            host=host if _HOST.fullmatch(host) else None,
            prefix=_joined(_told(scope, "prefix")),
        )


def parse_prefix(text: str) -> str:
    """A path as people write it -> "/a/b" without percent-encoding, or "" for the root: `cut`, `/cut/`, `/my%20cuts`.

    Raises:
        ConfigError: if it is no path, or one with `.` or `..` in it.
    """
    path = unquote(text.strip())
    parts = [part for part in path.split("/") if part]
    if _NOT_IN_PATHS.search(path) or {".", ".."} & set(parts) or len(path) > 1000:
        raise ConfigError(f"`root_path={text[:80]}` is not the path of an address; wanted for example /cut.")
    return "".join(f"/{part}" for part in parts)


def root_of(scope: Scope) -> str:
    """The path below which this server is seen, as it stands in addresses: "" or "/a/b", percent-encoded."""
    return quote(str(scope.get("root_path", "")))


def path_of(scope: Scope) -> str:
    """A request's path below the root, with a leading slash."""
    return str(scope["path"])[len(str(scope.get("root_path", ""))) :] or "/"


def address_of(request: Request, path: str = "") -> str:
    """The address of a path on this server ("docs"), as the client of a request has to write it."""
    return f"{request.base_url.replace(path=root_of(request.scope) + '/')}{path}"


def _told(scope: Scope, name: str) -> list[str]:
    """The values of a header `X-Forwarded-...`, in the order of its lines."""
    wanted = f"x-forwarded-{name}".encode()
    return [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]


def _first(values: list[str]) -> str:
    return ",".join(values).partition(",")[0].strip()


def _joined(prefixes: Iterable[str]) -> str | None:
    """The prefixes of several proxies, the outermost first, as one; None if there is none, or one that is no path."""
    try:
        return "".join(parse_prefix(one) for text in prefixes for one in text.split(",")) or None
    except ConfigError:
        return None


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        raise ConfigError(f"`trusted_proxies={name[:80]}` is neither an IP address nor a network of them.") from None
