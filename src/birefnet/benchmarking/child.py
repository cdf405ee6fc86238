"""The process of one step: `python -m birefnet.benchmarking.child STEP JOB RESULT`, both JSON files.

Each row has a process of its own, so that its peak memory is its own, and what kills it kills nothing else.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

from birefnet.benchmarking.job import Job
from birefnet.benchmarking.table import BACKENDS, REFERENCE, stored
from birefnet.errors import BiRefNetError, ConfigError, DeviceError, MissingExtra, OutOfMemory
from birefnet.files import write_json
from birefnet.libraries import own_process

PRODUCT_SIDE = 2048
_PRODUCT_RUNS = 10
_CANNOT_BE = (ConfigError, DeviceError, MissingExtra)  # said before any work; anything else is a failure


class _Square(Protocol):
    """A square matrix of whichever library."""

    def __matmul__(self, other: Self, /) -> object: ...


def measure(job: Job) -> dict[str, Any]:
    """Make the runtime, run it, and compare its alpha with the reference's (the reference row writes its own)."""
    start = time.perf_counter()
    from birefnet.benchmarking.makers import MAKERS  # what it imports is part of loading

    runtime = MAKERS[job.runtime](job)
    load = time.perf_counter() - start
    import numpy as np

    batch = np.load(job.batch)
    seconds = []
    for _ in range(1 + job.repeats):
        start = time.perf_counter()
        logits = runtime(batch)
        seconds.append(time.perf_counter() - start)
    found: dict[str, Any] = {
        "load_seconds": load,
        "first_seconds": seconds[0],
        "median_seconds": statistics.median(seconds[1:]),
        "least_seconds": min(seconds[1:]),
        "peak_mib": peak_mib(),
        "gpu_mib": gpu_mib(),
    }
    alpha = 0.5 + 0.5 * np.tanh(0.5 * logits[0, 0].astype(np.float64))
    if not np.isfinite(alpha).all():
        return {**found, "status": "failed", "reason": "gave values that are not finite"}
    if (job.runtime, job.precision) == (REFERENCE, "fp32"):
        np.save(job.reference, alpha)
    if Path(job.reference).exists():
        distance = np.abs(alpha - np.load(job.reference))
        found |= {"mean_difference": float(distance.mean()), "largest_difference": float(distance.max())}
    return found


def export(job: Job) -> dict[str, Any]:
    """Write the file that the runtime of a job loads."""
    from birefnet.export.options import ExportOptions
    from birefnet.export.writers import WRITERS
    from birefnet.weights.checkpoint import load_model

    backend = BACKENDS[job.runtime]
    options = ExportOptions(
        size=(job.width, job.height),
        precision=stored(job.precision),  # type: ignore[arg-type]  # it says itself what it knows
        deform=backend.deform,  # type: ignore[arg-type]
        calibration=Path(job.calibration) if job.calibration else None,
    )
    start = time.perf_counter()
    path = Path(job.file)
    WRITERS[backend.format]()(load_model(job.weights), path, job.spec, options, source=Path(job.weights).stem)
    sizes = [part.stat().st_size for part in (path.rglob("*") if path.is_dir() else [path]) if part.is_file()]
    return {"export_seconds": time.perf_counter() - start, "file_bytes": sum(sizes)}


def product(job: Job) -> dict[str, Any]:
    """The least seconds of a 2048^3 fp32 matrix product: PyTorch's where it is installed, else numpy's."""
    try:
        import torch
    except ImportError:
        import numpy as np

        square: _Square = np.ones((PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    else:
        if job.threads is not None:
            torch.set_num_threads(job.threads)
        square = torch.ones(PRODUCT_SIDE, PRODUCT_SIDE)
    seconds = []
    for _ in range(1 + _PRODUCT_RUNS):
        start = time.perf_counter()
        square @ square
        seconds.append(time.perf_counter() - start)
    return {"product_seconds": min(seconds[1:])}


STEPS: dict[str, Callable[[Job], dict[str, Any]]] = {"measure": measure, "export": export, "product": product}


def peak_mib() -> float | None:
    """The most memory this process ever held."""
    try:  # not ru_maxrss: Linux counts the parent's memory at the moment of the start in it
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)


def gpu_mib() -> float | None:
    """The most memory that PyTorch ever held on a GPU; None where it has used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return float(torch.cuda.max_memory_allocated()) / 2**20


def main(step: str, job: str, result: str) -> None:
    """Do one step; whatever goes wrong becomes a sentence in the result."""
    try:
        found = STEPS[step](Job(**json.loads(Path(job).read_text())))
    except (MemoryError, OutOfMemory):
        found = {"status": "failed", "reason": "ran out of memory"}
    except _CANNOT_BE as error:
        found = {"status": "left out", "reason": _first_line(error)}
    except Exception as error:  # the libraries' exceptions have no common base but this
        kind = "" if isinstance(error, BiRefNetError) else f"{type(error).__name__}: "
        found = {"status": "failed", "reason": f"{kind}{_first_line(error)}"}
    write_json(Path(result), found)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:300]


def _end_with_parent() -> None:
    """Whoever started this process may be killed, and then nobody waits for the result."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    own_process()
    _end_with_parent()
    main(*sys.argv[1:])
