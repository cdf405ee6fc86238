"""What was asked for -> the rows to be measured, and those that cannot be, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from birefnet.benchmarking.table import BACKENDS, REFERENCE, missing
from birefnet.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured.

    Attributes:
        runtimes: names of `BACKENDS`; none for the usual ones.
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
        precisions = sorted({name for backend in BACKENDS.values() for name in backend.known})
        _check("runtime", self.runtimes, list(BACKENDS))
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


def plan(request: Request) -> list[Planned]:
    """All rows, the reference first at every size."""
    rows = []
    runtimes = list(request.runtimes) or [name for name, backend in BACKENDS.items() if backend.usual]
    for width, height in request.sizes:
        rows.append(Planned(REFERENCE, "fp32", width, height, missing(BACKENDS[REFERENCE])))
        for runtime in dict.fromkeys(runtimes):
            for precision in dict.fromkeys(request.precisions or BACKENDS[runtime].default):
                if (runtime, precision) != (REFERENCE, "fp32"):
                    rows.append(Planned(runtime, precision, width, height, _reason(runtime, precision, request)))
    return rows


def _reason(runtime: str, precision: str, request: Request) -> str:
    backend = BACKENDS[runtime]
    if precision not in backend.known:
        return f"no {precision} there: {', '.join(backend.known)}"
    if precision == "int8" and request.calibration is None:
        return "needs pictures to calibrate with: `calibration=FOLDER`"
    return missing(backend)


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"No {kind} is named `{name}`; known: {', '.join(known)}.", hint=did_you_mean(name, known)
            )
