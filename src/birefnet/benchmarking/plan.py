"""What was asked for -> the rows to be measured, and those that cannot be, with the reason."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.benchmarking.table import WAYS, YARDSTICK, missing
from birefnet.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be measured.

    Attributes:
        runtimes: names of `WAYS`; none for the usual ones.
        precisions: none for each runtime's own.
        sizes: (width, height) in pixels, multiples of 32.
        repeats: runs after the first.
        device: as for `Remover`.
        threads: CPU threads; None for each runtime's own choice.
        calibration: a folder of pictures for int8.
        timeout: seconds that a row, or making its file, may take.

    Raises:
        ConfigError: if something cannot be meant as written.
    """

    runtimes: Sequence[str] = ()
    precisions: Sequence[str] = ()
    sizes: Sequence[tuple[int, int]] = ((1024, 1024),)
    repeats: int = 5
    device: str = "auto"
    threads: int | None = None
    calibration: Path | None = None
    timeout: float = 900.0

    def __post_init__(self) -> None:
        precisions = sorted({name for way in WAYS.values() for name in way.known})
        _check("runtime", self.runtimes, list(WAYS))
        _check("precision", self.precisions, precisions)
        if not self.sizes:
            raise ConfigError("There is no size to measure at; name one, such as 1024.")
        if self.repeats < 1 or self.timeout <= 0:
            raise ConfigError("A row needs one run at least after the first, and a time limit above 0.")


@dataclass(frozen=True, slots=True)
class Planned:
    """One row to come: `reason` says why it cannot be, "" if it can."""

    runtime: str
    precision: str
    width: int
    height: int
    reason: str = ""


def plan(wish: Wish) -> list[Planned]:
    """All rows, the yardstick first at every size."""
    rows = []
    runtimes = list(wish.runtimes) or [name for name, way in WAYS.items() if way.usual]
    for width, height in wish.sizes:
        rows.append(Planned(YARDSTICK, "fp32", width, height, missing(WAYS[YARDSTICK])))
        for runtime in dict.fromkeys(runtimes):
            for precision in dict.fromkeys(wish.precisions or WAYS[runtime].default):
                if (runtime, precision) != (YARDSTICK, "fp32"):
                    rows.append(Planned(runtime, precision, width, height, _reason(runtime, precision, wish)))
    return rows


def _reason(runtime: str, precision: str, wish: Wish) -> str:
    way = WAYS[runtime]
    if precision not in way.known:
        return f"no {precision} there: {', '.join(way.known)}"
    if precision == "int8" and wish.calibration is None:
        return "needs pictures to calibrate with: --calibration FOLDER"
    return missing(way)


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            raise ConfigError(f"No {kind} is named `{name}`{hint}; known: {', '.join(known)}.")
