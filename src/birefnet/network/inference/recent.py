"""A few values that depend on the size of a picture, kept for the next one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from birefnet.processes import PerProcess

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values that were asked for last, by their keys; safe to use from several threads. Copies are empty.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = PerProcess(threading.Lock)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key`, made if it is not there; meanwhile other threads go on, and may make the same."""
        with self._lock():
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock():
            value = self._kept.setdefault(key, made)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[type[Recent[Value]], tuple[int]]:
        """What `copy` and `pickle` make: an empty one."""
        return type(self), (self._most,)
