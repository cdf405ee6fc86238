"""Measure the rows one after another, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.benchmarking.job import Benchmark, Job, Row, in_products, row_of
from birefnet.benchmarking.plan import Planned, Request, plan
from birefnet.benchmarking.table import BACKENDS, REFERENCE, stored
from birefnet.files import write_json
from birefnet.pixels.prepare import InputSpec, prepare
from birefnet.runtimes import machine

_CHILD = "birefnet.benchmarking.child"


def run(
    request: Request,
    weights: Path,
    spec: InputSpec,
    picture: NDArray[np.uint8],
    folder: Path,
    *,
    model: str,
    keep: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    done: Callable[[], None] = lambda: None,
) -> Benchmark:
    """Measure everything that was asked for.

    Args:
        request: what is asked for.
        weights: a checkpoint.
        spec: how its pictures are normalised; the size does not matter.
        picture: (H, W, 3) uint8; every row sees it, squashed to its size.
        folder: for temporary files.
        model: what to call it.
        keep: where exported files go; None for `folder`.
        report: called with a few words before each step.
        done: called after each row that was tried.
    """
    facts = {"mean": spec.mean, "std": spec.std, "upsample": spec.upsample}
    steps = _Steps(folder, request.timeout)
    first = _job(Planned(REFERENCE, "fp32", spec.width, spec.height), request, weights, facts, folder, folder)
    report("a matrix product")
    products = [steps("product", first)]
    rows = []
    for planned in plan(request):
        job = _job(planned, request, weights, facts, folder, keep or folder)
        if planned.reason:
            rows.append(row_of(job, {"status": "left out", "reason": planned.reason}))
            continue
        if not Path(job.batch).exists():
            batch, _ = prepare(picture, job.spec)
            np.save(job.batch, batch)
        rows.append(_row(job, steps, report))
        done()
    products.append(steps("product", first))
    seconds = min((found["product_seconds"] for found in products if "product_seconds" in found), default=None)
    here = {"system": machine.system(), "cpu": machine.cpu(), "packages": machine.packages()}
    return Benchmark(model=model, machine=here, product_seconds=seconds, rows=in_products(tuple(rows), seconds))


def _job(
    planned: Planned, request: Request, weights: Path, facts: Mapping[str, Any], folder: Path, exports: Path
) -> Job:
    backend, side = BACKENDS[planned.runtime], f"{planned.width}x{planned.height}"
    name = f"{weights.stem}-{planned.runtime}-{stored(planned.precision)}-{side}{backend.suffix}"
    return Job(
        runtime=planned.runtime,
        precision=planned.precision,
        width=planned.width,
        height=planned.height,
        weights=str(weights),
        facts=facts,
        batch=str(folder / f"{side}.npy"),
        reference=str(folder / f"{side}-alpha.npy"),
        file=str(exports / name) if backend.format else "",
        calibration=str(request.calibration or ""),
        device=request.device,
        threads=request.threads,
        repeats=request.repeats,
    )


def _row(job: Job, steps: _Steps, report: Callable[[str], None]) -> Row:
    """Make the file if there is one to make, then measure."""
    words = f"{job.runtime} {job.precision} {job.width}x{job.height}"
    made: dict[str, Any] = {}
    if job.file:
        if job.file not in steps.made:
            report(f"{words}: making the file")
            steps.made[job.file] = steps("export", job)
        made = steps.made[job.file]
        if "status" in made:
            return row_of(job, {**made, "reason": f"export: {made['reason']}"})
    report(words)
    found = row_of(job, {**made, **steps("measure", job)})
    if found.status == "done" and found.largest_difference is None:
        return replace(found, reason="nothing to compare with: the reference was not measured")
    return found


class _Steps:
    """Runs steps in processes of their own."""

    def __init__(self, folder: Path, timeout: float) -> None:
        self.made: dict[str, dict[str, Any]] = {}  # exported file -> what was found while making it
        self._folder = folder
        self._timeout = timeout
        self._count = 0

    def __call__(self, step: str, job: Job) -> dict[str, Any]:
        """What the step found; or its status and the reason, in words."""
        self._count += 1
        paths = [self._folder / f"{self._count}-{name}.json" for name in ("job", "result")]
        write_json(paths[0], asdict(job))
        errors = self._folder / f"{self._count}.log"
        command = [sys.executable, "-m", _CHILD, step, *map(str, paths)]
        with errors.open("wb") as log:
            # A session of its own, so that what the process starts (a compiler) can be stopped with it.
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
            try:
                code = _wait(process, self._timeout)
            finally:
                _stop(process)
        if code is None:
            return {"status": "failed", "reason": f"stopped after {self._timeout:g} s (`timeout={self._timeout:g}`)"}
        if paths[1].exists():
            found: dict[str, Any] = json.loads(paths[1].read_text())
            return found
        return {"status": "failed", "reason": _why(code, errors.read_text(errors="replace"))}


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """The exit code; None if the time is over."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and all it started, if anything is left of them."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _why(code: int, log: str) -> str:
    """What ended a process that left no result."""
    if code == -signal.SIGTERM or code == -getattr(signal, "SIGKILL", 9):
        return "was killed, most likely because memory ran out"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    last = log.strip().splitlines()[-1:] or ["without a word"]
    return f"ended with code {code}: {last[0][:300]}"
