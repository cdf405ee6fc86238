"""A function over many inputs on all cores: results in order, few at a time, and the same however many work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self, TypeVar

from birefnet.errors import BiRefNetError, ConfigError

T = TypeVar("T")
R = TypeVar("R")

WAITING = 4  # inputs handed out for each worker: enough to keep it busy, few enough that memory does not grow

# Every worker is one thread: with more of each there would be workers squared of them.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Crew:
    """Worker processes, started at the first use and ended with the `with` block.

    Processes are spawned, not forked: the parent may hold threads of a network. A single worker is this process.

    Args:
        workers: how many; None for the cores that this process may use.

    Raises:
        ConfigError: for fewer than one.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ConfigError(f"There must be at least one worker, got {workers}.")
        self.workers = workers or cores()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[T], R], inputs: Iterable[T]) -> Iterator[R]:
        """`function` of every input, in order; inputs are taken and results kept a few at a time.

        Args:
            function: of a module's top level, as inputs and results are sent between processes.

        Raises:
            BiRefNetError: if a worker was ended from outside; whatever `function` raises.
        """
        if self.workers == 1:
            yield from map(function, inputs)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for one in inputs:
                waiting.append(self._submit(function, one))
                if len(waiting) >= self.workers * WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise BiRefNetError(
                "A worker process was ended from outside, likely for want of memory.\nhint: --workers 1 needs least"
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, function: Callable[[T], R], one: T) -> Future[R]:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, spawn, _begin)
        with _inherited():
            return self._pool.submit(function, one)


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def _inherited() -> Iterator[None]:
    """What a process that starts now inherits: one thread, and no ear for Ctrl-C, which is the parent's to hear.

    Blocked, not ignored: a Ctrl-C that comes meanwhile reaches the parent afterwards.
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    with _later():
        blocked = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None
        os.environ.update(_ONE_THREAD)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            if mask:
                mask(signal.SIG_SETMASK, blocked)


@contextmanager
def _later() -> Iterator[None]:
    """Ctrl-C is heard at the end of the block: the mask is of this thread alone, and any other may take the signal."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    heard: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _number, frame: heard.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if heard:
            usual(signal.SIGINT, heard[0])


def _begin() -> None:
    """The first thing a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)
