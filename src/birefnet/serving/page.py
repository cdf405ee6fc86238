"""The page's files over HTTP: those listed, and no others; what an address says is never looked for on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from birefnet.serving.proxies import path_of
from birefnet.serving.site import HEADERS, START, content_type


class PageRoute(BaseRoute):
    """Answers for the addresses of the page's files only, so that all others are left to other routes.

    Args:
        files: path of the address, without the leading slash -> the file, or its content.
    """

    path = "page"  # what metrics call it

    def __init__(self, files: Mapping[str, Path | bytes]) -> None:
        self._files = dict(files)
        if START in files:
            self._files[""] = files[START]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and self._name(scope) in self._files:
            return Match.FULL if scope["method"] in ("GET", "HEAD") else Match.PARTIAL, {"route": self}
        return Match.NONE, {}

    def url_path_for(self, name: str, /, **path_params: object) -> object:  # type: ignore[override]
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._name(scope)
        await self._answer(name or START, self._files[name], scope)(scope, receive, send)

    def _name(self, scope: Scope) -> str:
        return path_of(scope).removeprefix("/")

    def _answer(self, name: str, source: Path | bytes, scope: Scope) -> Response:
        headers = {**HEADERS, "ETag": _tag(source)}
        if Headers(scope=scope).get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if isinstance(source, Path):
            return FileResponse(source, headers=headers, media_type=content_type(name))
        content = b"" if scope["method"] == "HEAD" else source
        headers["Content-Length"] = str(len(source))
        return Response(content, headers=headers, media_type=content_type(name))


def _tag(source: Path | bytes) -> str:
    """What changes with the content."""
    if isinstance(source, bytes):
        return f'"{hashlib.sha256(source).hexdigest()[:32]}"'
    facts = source.stat()
    return f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
