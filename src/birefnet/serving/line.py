"""The queue: so many requests at once and no more, each answered in time, and none lost when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from birefnet.runtimes.allocator import give_back_freed_memory
from birefnet.serving.refusal import HUNG_UP, Refusal
from birefnet.serving.settings import Settings
from birefnet.serving.ticket import Abandoned, Ticket

Result = TypeVar("Result")

AHEAD = 2  # threads beside those that compute: one picture is read and one written while one is in the network
FETCHERS = 4
_QUIET = 0.5  # seconds without a request after which memory is tidied up
_LEARNING = 0.2  # weight of the newest request in the mean time of one


class Line:
    """Everybody who waits for a picture; used from the event loop only.

    A place is taken when a request begins and left when nothing is done for it any more: when it was answered, or,
    where the client hung up or the time was over, when the thread that worked on it has come to its next stage.

    Attributes:
        stopping: whether only what was accepted is finished.
        taken: how many places are taken.
        settings: those of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._make_threads()
        self._tidying: asyncio.TimerHandle | None = None
        self._seconds = 1.0  # that one picture takes a device, about
        self.stopping = False
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one request.

        Raises:
            Refusal: (503) if the server is stopping, (429) if there is none left.
        """
        if self.stopping:
            raise Refusal(503, "The server is stopping; ask again.", kind="stopping", retry_after=5)
        if self.taken >= self.settings.queue:
            wait = self.taken * self._seconds / len(self.settings.devices)
            sentence = f"{self.taken} requests are under way, which is all this server takes; ask again later."
            raise Refusal(429, sentence, kind="too_many_requests", retry_after=min(60.0, wait))
        self.taken += 1
        place = Place(self, Ticket(self.settings.deadline))
        try:
            yield place
        finally:
            place.leave()

    def free(self) -> None:
        """One place less is taken."""
        self.taken -= 1
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = asyncio.get_running_loop().call_later(_QUIET, self._tidy)

    def _tidy(self) -> None:
        """Give memory back that threads have freed, each in a corner of its own, when nobody waits for them."""
        if not self.taken:
            self._workers.submit(give_back_freed_memory)

    def close(self) -> None:
        """End the threads, when all is done; new ones begin if the app is started again."""
        if self._tidying is not None:
            self._tidying.cancel()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._fetchers.shutdown(wait=False, cancel_futures=True)
        self._make_threads()

    def _make_threads(self) -> None:
        """Places for threads; each begins when it is needed."""
        self._workers = ThreadPoolExecutor(len(self.settings.devices) + AHEAD, thread_name_prefix="picture")
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")

    def learn(self, seconds: float) -> None:
        """Remember how long a picture held its device."""
        self._seconds += _LEARNING * (seconds - self._seconds)


class Place:
    """One request's place in the line."""

    def __init__(self, line: Line, ticket: Ticket) -> None:
        self.ticket = ticket
        self._line = line
        self._working = 0  # threads
        self._left = False

    async def receive(self, reading: Awaitable[Result]) -> Result:
        """Await what reads the request.

        Raises:
            Refusal: (408) if it does not come in time.
        """
        try:
            async with asyncio.timeout(min(self._line.settings.upload_seconds, self.ticket.left)):
                return await reading
        except TimeoutError:
            raise Refusal(408, "The request did not arrive in time.", kind="request_timeout") from None

    async def work(self, request: Request, task: Callable[[], Result]) -> Result:
        """Run what computes in a thread and wait for it; see `_run`."""
        result = await self._run(self._line._workers, request, task)
        self._line.learn(self.ticket.seconds.get("network", 0.0))
        return result

    async def fetch(self, request: Request, task: Callable[[], Result]) -> Result:
        """Run what waits for another server in a thread and wait for it; see `_run`."""
        return await self._run(self._line._fetchers, request, task)

    async def _run(self, pool: ThreadPoolExecutor, request: Request, task: Callable[[], Result]) -> Result:
        """The result of a task, as long as somebody waits for it.

        Raises:
            Refusal: (504) if its time is over, or if the client has hung up (`HUNG_UP`, which nobody reads).
        """
        future = pool.submit(task)
        self._begin(future)
        waiting: asyncio.Future[Any] = asyncio.wrap_future(future)
        gone: asyncio.Future[Any] = asyncio.ensure_future(_hung_up(request))
        try:
            await asyncio.wait([waiting, gone], timeout=self.ticket.left, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                result: Result = waiting.result()
                return result
        finally:
            gone.cancel()
            if not waiting.done():
                self.ticket.abandon()
                waiting.add_done_callback(_forget)
                waiting.cancel()  # drops it if no thread has begun with it
        if gone.done() and not gone.cancelled():
            raise Refusal(HUNG_UP, "The client has hung up.", kind="hung_up")
        sentence = f"It took more than {self._line.settings.deadline:g} s, the limit of this server; it was given up."
        raise Refusal(504, sentence, kind="request_timeout")

    def leave(self) -> None:
        """Give the place up, at once or when the last thread is done with it."""
        self._left = True
        self._settle()

    def _begin(self, future: Future[Any]) -> None:
        self._working += 1
        loop = asyncio.get_running_loop()

        def ended(_: Future[Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._end)

        future.add_done_callback(ended)

    def _end(self) -> None:
        self._working -= 1
        self._settle()

    def _settle(self) -> None:
        if self._left and not self._working:
            self._line.free()
            self._left = False


async def _hung_up(request: Request) -> None:
    """Return when the client has gone; what it may still send is not looked at."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _forget(future: asyncio.Future[Any]) -> None:
    """What became of it interests nobody, but faults of ours are still to be seen."""
    if not future.cancelled():
        error = future.exception()
        if error is not None and not isinstance(error, (Abandoned, Refusal)):
            future.get_loop().call_exception_handler({"message": "after its request was given up", "exception": error})
