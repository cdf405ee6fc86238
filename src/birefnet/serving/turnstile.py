"""Who may compute now: a device for one at a time, and memory for so many pixels, in order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

Device = TypeVar("Device")


class _Order:
    """Waiting in order of arrival."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait(self, possible: Callable[[], bool]) -> None:
        """Return when it is our turn and `possible` says so; the condition is held."""
        me = object()
        self._waiting.append(me)
        try:
            self.changed.wait_for(lambda: self._waiting[0] is me and possible())
        finally:
            self._waiting.remove(me)
            self.changed.notify_all()


class Turnstile(Generic[Device]):
    """Lets one caller at a time to each device."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._order = _Order()
        self._free = deque(devices)

    @property
    def waiting(self) -> int:
        """How many wait for a device."""
        return len(self._order)

    @contextmanager
    def device(self) -> Iterator[Device]:
        """A device that nobody else uses for as long as the context lasts."""
        with self._order.changed:
            self._order.wait(lambda: bool(self._free))
            device = self._free.popleft()
        try:
            yield device
        finally:
            with self._order.changed:
                self._free.append(device)
                self._order.changed.notify_all()


class Budget:
    """So much of something in all; what wants more than there is in all waits until it has everything.

    Args:
        total: how much there is.
    """

    def __init__(self, total: int) -> None:
        self._order = _Order()
        self._total = self._left = total

    @property
    def waiting(self) -> int:
        """How many wait for their share."""
        return len(self._order)

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Hold `amount` for as long as the context lasts."""
        amount = min(amount, self._total)
        with self._order.changed:
            self._order.wait(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._order.changed:
                self._left += amount
                self._order.changed.notify_all()
