"""A function over many inputs on all cores: results in order, few at a time, and the same however many work.

Nothing here may import numpy at its head: a worker that starts imports this module first, and libraries read how many
threads to start when they are loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from birefnet.cpus import usable_cpus
from birefnet.errors import BiRefNetError, ConfigError

T = TypeVar("T")
R = TypeVar("R")

WAITING = 4  # inputs handed out for each worker: enough to keep it busy, few enough that memory does not grow

# Every worker is one thread: with more of each there would be workers squared of them.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


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
        self.workers = workers or len(usable_cpus())
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
            BiRefNetError: if a worker was ended from outside, or could not start; whatever `function` raises.
        """
        if self.workers == 1:
            yield from map(function, inputs)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"), _begin)
        waiting: deque[Future[R]] = deque()
        try:
            for one in inputs:
                with _deaf_children():
                    waiting.append(self._pool.submit(function, one))
                if len(waiting) >= self.workers * WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise BiRefNetError(
                "A worker process was ended from outside, probably because memory ran out, or could not start.",
                hint='`workers=1` needs least memory; in a script, more workers need `if __name__ == "__main__":`',
            ) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """A process that this thread starts meanwhile does not hear Ctrl-C, which is its parent's to hear.

    `_begin` would be too late: a worker takes a while to get there, and Ctrl-C reaches the whole group. What is blocked
    is blocked for this thread only, and a Ctrl-C that comes meanwhile is heard afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """The first thing a worker does, before any library is loaded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)
