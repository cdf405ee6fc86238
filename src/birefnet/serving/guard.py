"""Around every request: an id, limits on its size and time, an answer whatever happens, a line in the log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from birefnet.memory import ran_out
from birefnet.serving.metrics import Metrics
from birefnet.serving.refusal import HUNG_UP, Refusal, out_of_memory, readable

logger = logging.getLogger(__name__)

_FORM_BYTES = 1_000_000  # what a form may hold beside its pictures
_DRAINED_BYTES = 64_000_000
_DRAINED_SECONDS = 2.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """ASGI middleware.

    Args:
        app: what it stands around.
        max_bytes: of a picture; a body may hold two and some text, or one in base64.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._max_body = 2 * max_bytes + _FORM_BYTES
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, receive, send, self._max_body)
        try:
            try:
                passage.check_headers()
                await self._app(scope, passage.receive, passage.send)
            except Exception as error:
                await passage.answer(_told(error, passage.name))
        finally:
            self._metrics.count(passage.route, passage.status, passage.seconds)
            logger.info("request", extra={"fields": passage.line()})


def _told(error: Exception, name: str) -> Refusal:
    """What a request is told about an error that the app has no answer to; its log has the details."""
    if isinstance(error, Refusal):
        return error
    fields = {"fields": {"id": name}}
    if ran_out(error):
        logger.warning("there was not enough memory for a request: %r", error, extra=fields)
        return out_of_memory()
    logger.error("a request failed by a fault of ours", exc_info=error, extra=fields)
    return Refusal(500, f"A fault of the server, not yours; it is in its log as {name}.")


class _Passage:
    """One request and its answer on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body: int) -> None:
        self.status = HUNG_UP  # until there is an answer
        self._scope, self._receive, self._send = scope, receive, send
        self._headers = Headers(scope=scope)
        self._max_body = max_body
        self._started = time.perf_counter()
        self._received = self._sent = 0
        self._begun = False  # to be received
        self._whole = self._headers.get("content-length", "") in ("", "0") and "transfer-encoding" not in self._headers
        given = self._headers.get("x-request-id", "")
        self.name = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.name

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    @property
    def route(self) -> str:
        """The route's pattern, so that there are few; addresses nobody answers are all counted as one."""
        return getattr(self._scope.get("route"), "path", "none")

    def check_headers(self) -> None:
        """Refuse what need not be received to be refused."""
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise Refusal(415, "The body is compressed; send it as it is: pictures are compressed already.")
        length = self._headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()

    def _too_large(self) -> Refusal:
        return Refusal(413, f"The request is larger than {self._max_body / 1e6:.0f} MB, the limit of this server.")

    async def receive(self) -> Message:
        """The next part of the request, as long as it is not too large."""
        message = await self._next()
        if self._received > self._max_body:
            raise self._too_large()
        return message

    async def _next(self) -> Message:
        self._begun = True
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        else:
            self._whole = True
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, with what belongs to every one."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status != 408:  # that is for who does not go on
                await self._drain()
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.name
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cache-Control", "no-store")
        elif message["type"] == "http.response.body":
            self._sent += len(message.get("body", b""))
        await self._send(message)

    async def _drain(self) -> None:
        """Receive what the client still sends, within limits: it would not read an answer on a broken connection."""
        asks_first = self._headers.get("expect", "").lower() == "100-continue" and not self._begun
        if self._whole or asks_first:
            return
        enough = self._received + _DRAINED_BYTES
        try:
            async with asyncio.timeout(_DRAINED_SECONDS):
                while not self._whole and self._received < enough:
                    await self._next()
        except TimeoutError:
            pass

    async def answer(self, refusal: Refusal) -> None:
        """Answer in place of the app, unless it has begun to."""
        if self.status == HUNG_UP and refusal.status_code != HUNG_UP:
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            await answer(self._scope, self._receive, self.send)

    def line(self) -> dict[str, Any]:
        """What the log says of it: no address's query, no header, no content."""
        told: dict[str, Any] = {
            "id": self.name,
            "method": self._scope["method"],
            "path": readable(self._scope["path"][:200]),
        }
        told |= {"status": self.status, "seconds": round(self.seconds, 4)}
        told |= {"received": self._received, "sent": self._sent, **self._scope["state"].get("told", {})}
        return told
