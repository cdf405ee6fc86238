"""How many decoded pictures fit into memory, estimated from the headers of their files before any is decoded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from birefnet.data.config import DataConfig
from birefnet.errors import DataError

log = logging.getLogger(__name__)

MIB = 1 << 20
_CHANNELS = 4  # colours and a mask, or colours and alpha; backgrounds need one less
_SAFE = 0.9  # part of the free memory that pictures may take; the network needs some too


class Planned(NamedTuple):
    """Item `number` of a shelf of the library, and the bytes that it needs once decoded: its `size`."""

    shelf: Any
    number: int
    size: int


def decoded_bytes(size: tuple[int, int], longest: int | None) -> int:
    """Bytes of a picture of `size` (width, height) with its mask, reduced to `longest`."""
    width, height = size
    scale = 1.0 if longest is None else min(1.0, longest / max(width, height))
    return int(width * scale * height * scale * _CHANNELS)


def choose_kept(planned: Sequence[Planned], config: DataConfig, processes: int, available: int | None) -> list[Planned]:
    """Those items that `config.cache` keeps decoded: all, none, or the first that fit into its budget.

    Args:
        planned: all items.
        config: of the run.
        processes: how many processes of this machine keep them.
        available: free bytes for all of them; None if unknown.

    Raises:
        DataError: if they would not fit into memory, with what would.
    """
    if config.cache == "none":
        log.info("all %d pictures are read at every sample (data.cache: none)", len(planned))
        return []
    budget = None if config.cache == "memory" else int(config.cache) * MIB
    kept, total = list[Planned](), 0
    for plan in planned:
        if budget is None or total + plan.size <= budget:
            kept.append(plan)
            total += plan.size
    if available is not None and total * processes > available * _SAFE:
        raise _too_large(total, processes, available, config)
    log.info("%d of %d pictures are kept decoded, about %s", len(kept), len(planned), gib(total))
    return kept


def _too_large(need: int, processes: int, available: int, config: DataConfig) -> DataError:
    each = f"{gib(need)} for each of {processes} processes" if processes > 1 else gib(need)
    half = max(1, available // processes // 2 // MIB)
    smaller = ", or `data.longest: 1024` to reduce them" if config.longest is None else ""
    return DataError(
        f"The decoded pictures need {each}, but only {gib(available)} of memory are free",
        hint=f"set `data.cache: none` to read the files at every sample, `data.cache: {half}` to keep so many MiB"
        f"{smaller}",
    )


def available_memory() -> int | None:
    """Bytes that can still be taken on this machine or in this container; None where the system does not say."""
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        if most != "max":
            limits.append(int(most) - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass  # not Linux, or no such limit
    return min(limits, default=None)


def gib(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 / 10 else f"{count / MIB:.0f} MiB"
