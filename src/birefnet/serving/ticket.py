"""One request on its way: how long it has, whether anybody still waits for it, and what took how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Abandoned(Exception):
    """The client of this request has gone, or its time is over."""


class Ticket:
    """A request that was accepted.

    Attributes:
        seconds: by stage: what was spent on it so far.
    """

    def __init__(self, deadline: float) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}
        self._deadline = deadline
        self._abandoned = False

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds until it must be answered; not less than 0."""
        return max(0.0, self._deadline - self.age)

    def abandon(self) -> None:
        """Say that nobody waits for it any more; its next stage does not begin."""
        self._abandoned = True

    def check(self) -> None:
        """Raise `Abandoned` if nobody waits for it."""
        if self._abandoned:
            raise Abandoned

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a stage, which only begins if somebody waits for it."""
        self.check()
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
