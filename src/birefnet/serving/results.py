"""Results that are fetched by address: kept in memory for a while, under names nobody can guess."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import NamedTuple


class Result(NamedTuple):
    """A file that was made for somebody."""

    data: bytes
    content_type: str
    name: str
    until: float  # of `time.monotonic`


class Results:
    """The newest results; used from the event loop only.

    Args:
        seconds: how long each is kept.
        count, size: how many, and how many bytes together; beyond that the oldest go first.
    """

    def __init__(self, *, seconds: float, count: int, size: int) -> None:
        self._seconds, self._count, self._size = seconds, count, size
        self._kept: OrderedDict[str, Result] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        self._forget()
        return len(self._kept)

    def put(self, data: bytes, content_type: str, name: str) -> str:
        """Keep a file; returns the path it is fetched by, below `/files/`."""
        key = secrets.token_urlsafe(24)
        self._kept[key] = Result(data, content_type, name, time.monotonic() + self._seconds)
        self._bytes += len(data)
        self._forget()
        return f"{key}/{name}"

    def get(self, key: str, name: str) -> Result | None:
        """A file that was kept, unless it has gone."""
        self._forget()
        found = self._kept.get(key)
        return found if found is not None and found.name == name else None

    def _forget(self) -> None:
        now = time.monotonic()
        while self._kept:
            oldest = next(iter(self._kept.values()))
            crowded = len(self._kept) > self._count or (self._bytes > self._size and len(self._kept) > 1)
            if oldest.until > now and not crowded:
                return
            self._bytes -= len(self._kept.popitem(last=False)[1].data)
