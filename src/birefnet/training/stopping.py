"""Ctrl-C and SIGTERM: end the step, save, leave."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO = 1.0  # seconds; a launcher may send the signal again that the terminal has already sent


class Stopper:
    """While it is entered, the first signal only asks to stop; a second Ctrl-C interrupts at once.

    Attributes:
        signal: number of the signal that came, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._since = 0.0
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    def asked(self) -> bool:
        """Whether a signal came."""
        return self.signal != 0

    def __enter__(self) -> Stopper:
        # Python lets only the main thread handle signals; in another one they keep their meaning.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self.signal:
            self.signal, self._since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > _ECHO:
            raise KeyboardInterrupt
