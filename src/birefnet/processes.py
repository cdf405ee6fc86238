"""What a process has for itself alone: locks and threads, which a fork copies dead, and PyTorch's number of threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Value = TypeVar("Value")


class PerProcess(Generic[Value]):
    """A value that every process makes for itself at the first call; a copied lock may be held by nobody there.

    Args:
        make: makes it; of two threads that come first at once, both make one, and one of these is kept.
    """

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._made: dict[int, Value] = {}

    def __call__(self) -> Value:
        process = os.getpid()
        if process not in self._made:
            self._made.setdefault(process, self._make())
        return self._made[process]


@contextmanager
def torch_threads(count: int | None = None) -> Iterator[None]:
    """Inside, PyTorch computes on the CPU with so many threads; afterwards the number is what it was.

    Threads that begin to compute with PyTorch meanwhile see it too: PyTorch has one number for the process. In a
    process that was forked after PyTorch had computed, it is always one: OpenMP's threads are not copied with it, and
    who wants to compute with them waits for ever.

    Args:
        count: None leaves it.
    """
    _with_torch.add(os.getpid())
    count = 1 if is_fork_of_torch() else count
    if count is None:
        yield
        return
    runs = _runs()
    runs.begin(count)
    try:
        yield
    finally:
        runs.end()


def is_fork_of_torch() -> bool:
    """Whether this process was forked from one in which this package had computed with PyTorch."""
    return bool(_with_torch - {os.getpid()})


class _Runs:
    """The runs of a process that have a number of threads of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._before = 0

    def begin(self, count: int) -> None:
        import torch

        with self._lock:
            if not self._running:  # else what PyTorch tells may be another run's
                self._before = torch.get_num_threads()
            self._running += 1
            torch.set_num_threads(count)

    def end(self) -> None:
        import torch

        with self._lock:
            self._running -= 1
            torch.set_num_threads(self._before)


_with_torch: set[int] = set()  # processes
_runs = PerProcess(_Runs)
