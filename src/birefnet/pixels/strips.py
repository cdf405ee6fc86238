"""Cutting tall arrays into strips of rows, so that work at full size needs little memory."""

from __future__ import annotations

from collections.abc import Iterator

from birefnet.cpus import default_threads

STRIP_PIXELS = 1 << 18  # a strip's float32 temporaries (1 MiB each) stay in a cache, and their memory is used again


WORKERS = 2  # threads that work on strips or tiles at once: more only wait for the memory


def workers(threads: int | None) -> int:
    """How many threads may work at once where `threads` are allowed (None: as many as there are by default)."""
    return min(WORKERS, default_threads() if threads is None else threads)


def strips(height: int, width: int) -> Iterator[slice]:
    """Slices of rows, in order, that together cover `height` rows of `width` pixels."""
    rows = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
