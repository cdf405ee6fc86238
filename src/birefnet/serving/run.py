"""Running the server until it is told to stop, and then until all it accepted is done."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from birefnet.serving.line import Line

logger = logging.getLogger(__name__)

_HANG_UP: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
_KEEP_ALIVE = 15  # seconds an idle connection is kept
_LAST_BYTES = 30  # seconds for answers that are still being sent, when all else is done


class Server(uvicorn.Server):
    """A server whose first signal begins the end, and whose second one makes it short.

    After the first (SIGTERM, Ctrl-C, or SIGHUP of a terminal that is gone) new requests get 503 while what was accepted
    is finished; then it listens no more. So load balancers are told in time, and
    nothing accepted is lost.
    """

    def __init__(self, config: uvicorn.Config, line: Line | None, grace: float) -> None:
        super().__init__(config)
        self._line = line
        self._grace = grace
        self._told: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._told is not None and sig != _HANG_UP:
            self.force_exit = self.should_exit = True
            return
        self._told = self._told or time.monotonic()
        if self._line is None:
            self.should_exit = True
        else:
            self._line.stopping = True

    async def on_tick(self, counter: int) -> bool:
        if self._told is not None and self._line is not None:
            late = time.monotonic() - self._told > self._grace
            if late:
                logger.warning("%d requests were not finished in %g s", self._line.taken, self._grace)
            if late or not self._line.taken:
                self.should_exit = True
        return await super().on_tick(counter)


def run(app: ASGIApp, *, host: str, port: int, line: Line | None = None, grace: float = 60.0) -> bool:
    """Serve until a signal; returns whether it ever listened.

    Args:
        app: what answers; it looks after the headers of proxies itself.
        host: the address to listen at.
        port: the port there; 0 for a free one.
        line: its queue, if it has one.
        grace: seconds for what was accepted, after a signal.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_BYTES,
    )
    server = Server(config, line, grace)
    try:
        with _hang_up_ends(server):
            server.run()
    except SystemExit:  # uvicorn's way to say that the port is taken; it has logged so
        return False
    return server.started


@contextmanager
def _hang_up_ends(server: Server) -> Iterator[None]:
    """Let SIGHUP end a server as SIGTERM does, unless it was started with SIGHUP ignored (`nohup`)."""
    if _HANG_UP is None or signal.getsignal(_HANG_UP) == signal.SIG_IGN:
        yield
        return
    before = signal.signal(_HANG_UP, server.handle_exit)
    try:
        yield
    finally:
        signal.signal(_HANG_UP, before)
