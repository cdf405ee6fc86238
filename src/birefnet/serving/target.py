"""Which route a request means: whatever stands in front of the server, and however its address is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from birefnet.serving.page import PageRoute
from birefnet.serving.proxies import Proxies, root_of

METHODS = ("GET", "HEAD", "POST")
_ABSOLUTE = re.compile(r"(https?)://([^/?#@]+)(/.*)?", re.IGNORECASE | re.DOTALL)
_SLASHES = re.compile(r"/{2,}")


class RequestTarget:
    """ASGI middleware: sets a request's scheme, host, root path and path to what its client means.

    Taken for the same: `/v1/models`, `/v1/models/`, `//v1//models` and `http://host/v1/models` on the request line;
    and all of these below the root path, whether the proxy that shows the server there cuts it off or not. `HEAD` is
    answered wherever `GET` is, and `OPTIONS` says what else is.

    Args:
        app: what answers.
        routes: its routes.
        root_path: the path below which the server is seen, as `parse_prefix` gives it; then that of proxies is not
            asked.
        proxies: who else may say so.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute], root_path: str, proxies: Proxies) -> None:
        self._app = app
        self._routes = routes
        self._root = root_path
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outside = self._proxies.outside(scope)
        _set_origin(scope, outside.scheme, outside.host)
        allowed = self._find(scope, self._root or outside.prefix or "")
        answer = self._answer(scope, allowed)
        if answer is not None:
            await answer(scope, receive, send)
        elif scope["method"] == "HEAD" and "HEAD" not in allowed:
            inner = {**scope, "method": "GET"}
            try:
                await self._app(inner, receive, _without_body(send))
            finally:
                if "route" in inner:
                    scope["route"] = inner["route"]  # for who counts requests
        else:
            await self._app(scope, receive, send)

    def _find(self, scope: Scope, root: str) -> tuple[str, ...]:
        """Set root path and path to those of the route that is meant; the methods it answers, none if there is none.

        Whether a proxy has cut the root path off is seen by which of the two readings has a route.
        """
        path = _SLASHES.sub("/", _without_origin(scope)) or "/"
        mounted = str(scope.get("root_path", ""))  # below which another app holds this one
        if mounted and f"{path}/".startswith(f"{mounted}/"):
            path = path[len(mounted) :] or "/"
        below = path[len(root) :] if f"{path}/".startswith(f"{root}/") else None
        readings = [path] if below is None else list(dict.fromkeys((below or "/", path)))
        root += mounted
        scope["root_path"] = root
        for reading in readings:
            for start, routes in ((reading, self._routes), (reading.rstrip("/") or "/", self._without_page())):
                scope["path"] = root + start
                allowed = tuple(method for method in METHODS if _answers(routes, scope, method))
                if allowed:
                    if below == "" and reading == "/":
                        scope["path"] = root  # as it was: what is relative on the page there would lead elsewhere
                    return allowed
        scope["path"] = root + readings[0]
        return ()

    def _without_page(self) -> list[BaseRoute]:
        """The routes whose addresses may end in a slash: files that name others relative to themselves are not."""
        return [route for route in self._routes if not isinstance(route, PageRoute)]

    def _answer(self, scope: Scope, allowed: tuple[str, ...]) -> Response | None:
        """The answer where no route has to give it."""
        method = scope["method"]
        if scope["path"].removeprefix(scope["root_path"]) == "*" and method == "OPTIONS":
            allowed = METHODS
        if not allowed:
            return None
        told = ", ".join(sorted({*allowed, "OPTIONS", *(("HEAD",) if "GET" in allowed else ())}))
        if method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": told})
        if method not in told.split(", "):
            sentence = f"`{method[:20]}` is not answered here; this address takes {told}."
            return JSONResponse({"detail": sentence}, 405, {"Allow": told})
        if scope["root_path"] and scope["path"] == scope["root_path"]:
            query = scope.get("query_string", b"").decode("latin-1")
            return RedirectResponse(root_of(scope) + "/" + (f"?{query}" if query else ""), 308)
        return None


def _answers(routes: Iterable[BaseRoute], scope: Scope, method: str) -> bool:
    probe = {**scope, "method": method}
    return any(route.matches(probe)[0] is Match.FULL for route in routes)


def _without_origin(scope: Scope) -> str:
    """The path; if the request line has a whole address, its scheme and host are taken over, as HTTP demands."""
    path = str(scope["path"])
    whole = _ABSOLUTE.fullmatch(path)
    if whole is None:
        return path
    _set_origin(scope, whole[1].lower(), whole[2])
    return whole[3] or "/"


def _set_origin(scope: Scope, scheme: str | None, host: str | None) -> None:
    if scheme is not None:
        scope["scheme"] = scheme
    if host is not None:
        scope["headers"] = list(scope["headers"])
        MutableHeaders(scope=scope)["host"] = host


def _without_body(send: Send) -> Send:
    async def sent(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sent
