"""Many pictures, one after the other: cut out here, written by a few threads, and never stopped by a bad one.

The network runs in one thread, so results do not depend on how many write, and the peak memory is that of one
picture in the network and a few waiting for the disk.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from birefnet.cli.messages import debugging
from birefnet.cli.plan import Job
from birefnet.errors import BiRefNetError, PictureError
from birefnet.files import is_stream
from birefnet.remover import Cutout, Remover

WRITERS = 2
PIXELS_WAITING = 64_000_000  # of cut-outs not yet written; above it the network waits for the disk

Save = Callable[[Cutout, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one picture: a row of the report of `--json`.

    `width`, `height` (pixels, upright) and `has_foreground` are None unless it was cut out; `seconds` is the time spent
    reading, cutting out and writing it.
    """

    input: str
    output: str
    status: Literal["done", "skipped", "failed"] = "done"
    width: int | None = None
    height: int | None = None
    has_foreground: bool | None = None
    seconds: float = 0.0
    error: str | None = None
    hint: str | None = None


def run_batch(jobs: Sequence[Job], remover: Remover, save: Save, *, overwrite: bool) -> Generator[Outcome]:
    """Cut out every picture and yield what became of it, in the order of the jobs.

    An output that exists is an error if there is one job, and skipped if there are several, so that a batch that was
    interrupted can be started again. When the caller stops early (Ctrl-C), files that are being written are completed.
    """
    waiting: deque[tuple[int, Future[Outcome]]] = deque()
    pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
    try:
        for job in jobs:
            while len(waiting) > WRITERS or sum(pixels for pixels, _ in waiting) > PIXELS_WAITING:
                yield waiting.popleft()[1].result()
            waiting.append(_start(job, remover, save, pool, overwrite=overwrite, alone=len(jobs) == 1))
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(
    job: Job, remover: Remover, save: Save, pool: ThreadPoolExecutor, *, overwrite: bool, alone: bool
) -> tuple[int, Future[Outcome]]:
    """Cut one picture out now and hand it to a writer; returns its pixels and what will become of it."""
    row = Outcome(input=str(job.source), output=str(job.target))
    settled: Future[Outcome] = Future()
    start = time.perf_counter()
    try:
        if job.target.is_dir():
            raise PictureError(f"Cannot write `{job.target}`: it is a folder.")
        if job.target.exists() and not is_stream(job.target) and not overwrite:
            if alone:
                raise PictureError(f"`{job.target}` exists.", hint="--overwrite replaces it")
            settled.set_result(replace(row, status="skipped"))
            return 0, settled
        cutout = remover(read_once(job.source))
    except Exception as error:
        settled.set_result(_failed(row, error))
        return 0, settled
    height, width = cutout.alpha.shape
    row = replace(row, width=width, height=height, seconds=time.perf_counter() - start)
    return width * height, pool.submit(_finish, row, cutout, job.target, save)


def _finish(row: Outcome, cutout: Cutout, target: Path, save: Save) -> Outcome:
    """Write one cut-out."""
    start = time.perf_counter()
    try:
        make_folder(target.parent)
        save(cutout, target)
        found = cutout.has_foreground
    except Exception as error:
        return _failed(row, error)
    return replace(row, has_foreground=found, seconds=row.seconds + time.perf_counter() - start)


def read_once(source: Path) -> Path | bytes:
    """A picture's path, or what a pipe gives, which can be read only once.

    Raises:
        PictureError: if it cannot be read.
    """
    if not is_stream(source):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise PictureError(f"Cannot read `{source}`: {error.strerror}.") from error


def make_folder(folder: Path) -> None:
    """Make the folder of a result, with those above it.

    Raises:
        PictureError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"Cannot make the folder `{folder}`: {error.strerror}.") from error


def _failed(row: Outcome, error: Exception) -> Outcome:
    """The sentence for what went wrong; a fault of ours is named by its type, so that it can be told apart."""
    if debugging():
        raise error
    text = str(error) if isinstance(error, BiRefNetError) else f"{type(error).__name__}: {error}"
    hint = error.hint if isinstance(error, BiRefNetError) else None
    return replace(row, status="failed", error=text, hint=hint, width=None, height=None)


def to_report(outcomes: Sequence[Outcome], total: int, seconds: float) -> dict[str, Any]:
    """What `--json` prints: totals, and one row for each picture that was processed (`total` were to be cut out)."""
    rows = [{**asdict(outcome), "seconds": round(outcome.seconds, 4)} for outcome in outcomes]
    return {"total": total, **_count(outcomes), "seconds": round(seconds, 4), "pictures": rows}


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """One line: where a single result is, or how many there are of each kind; "" for a single one that failed."""
    if len(outcomes) == 1:
        (one,) = outcomes
        return f"{one.input} -> {one.output} ({seconds:.2f} s)" if one.status == "done" else ""
    words = {
        "done": "cut out",
        "skipped": "skipped because the result exists (--overwrite replaces it)",
        "failed": "failed",
    }
    counts = [f"{count} {words[status]}" for status, count in _count(outcomes).items() if count]
    return ", ".join(counts) + f" ({seconds:.2f} s)" if counts else ""


def _count(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped", "failed")}
