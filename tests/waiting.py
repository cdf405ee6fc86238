"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until a condition holds; fail if it does not in time (of this process: it may be stopped meanwhile)."""
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that in time")
