"""Judging sets of predictions: every pair on one of the cores, nothing kept but numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.evaluation.crew import Crew
from birefnet.evaluation.files import Job, short
from birefnet.evaluation.inverted import Suspicion, correlation, probe, refuse_suspicious, suspicion
from birefnet.evaluation.measure import Measurement, Summary, measure, summarise
from birefnet.evaluation.pair import Grey
from birefnet.evaluation.problems import Problems
from birefnet.evaluation.reading import Wrong, read_files

Progress = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one picture by metric; None where a metric is not defined for it."""

    job: Job
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class SetResult:
    """What became of one set.

    Attributes:
        name: of the set.
        rows: one for each picture, by stem.
        summary: values of the whole set, counts of pictures where one is not defined, and mean curves.
        odd: what some predictions look like, though most of the set does not, and their names.
    """

    name: str
    rows: tuple[Row, ...]
    summary: Summary
    odd: tuple[tuple[Suspicion, str], ...] = ()

    def looking(self, kind: Suspicion) -> list[str]:
        """The names of the predictions that look so."""
        return [name for look, name in self.odd if look == kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How pairs are judged.

    Attributes:
        metrics: names of `birefnet.evaluation.measure.METRICS`.
        resize: bring a prediction to its truth's size, bilinearly; else sizes must be equal.
        own: whether predictions were made here, so that a dark one was meant so.
        skeletons: folder where skeletons of truths are kept between runs; None keeps none.
    """

    metrics: tuple[str, ...]
    resize: bool = False
    own: bool = False
    skeletons: Path | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    measurement: Measurement | None = None
    suspicion: Suspicion | None = None
    problems: tuple[Wrong, ...] = ()


def measure_sets(
    jobs: Mapping[str, Sequence[Job]],
    settings: Settings,
    *,
    workers: int | None = None,
    allow_inverted: bool = False,
    progress: Progress = lambda: None,
) -> list[SetResult]:
    """Measure every pair of every set.

    Args:
        jobs: set name -> pairs, as of `birefnet.evaluation.files.match`.
        workers: processes; None for all cores. The results are the same for any number.
        allow_inverted: judge sets that look inverted, or hold 1 for white, as they are.
        progress: called after every pair.

    Returns:
        One result for each set, in order.

    Raises:
        DataError: if files turn out damaged, coloured or otherwise no masks, all listed; or if a set looks inverted.
        MissingExtra: if a metric needs a library that is not installed.
    """
    if not allow_inverted:
        probe(jobs, own=settings.own)
    problems = Problems()
    with Crew(workers) as crew:
        found = [_evaluate_set(name, pairs, settings, crew, problems, progress) for name, pairs in jobs.items()]
    problems.check("The evaluation was broken off without a result")
    results = [result for result in found if result is not None]
    if not allow_inverted:
        refuse_suspicious("The evaluation gives no result", {one.name: (one.odd, len(one.rows)) for one in results})
    return results


def resized(prediction: Grey, shape: tuple[int, int]) -> Grey:
    """(h, w) -> `shape` (H, W) uint8, bilinear without averaging (OpenCV's), which the published numbers rest on."""
    if prediction.shape == shape:
        return prediction
    cv2 = require("cv2", "evaluate")
    out: NDArray[np.uint8] = cv2.resize(prediction, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return out


def _evaluate_set(
    name: str, jobs: Sequence[Job], settings: Settings, crew: Crew, problems: Problems, progress: Progress
) -> SetResult | None:
    rows: list[Row] = []
    odd: list[tuple[Suspicion, str]] = []

    def measurements() -> Iterator[Measurement]:
        """Each measurement passes by once: its values are kept, its curves only in the sums of `summarise`."""
        for job, judged in zip(jobs, crew.map(partial(_judge, settings), jobs), strict=True):
            for path, kind, detail in judged.problems:
                problems.add(kind, short(path), detail)
            if judged.suspicion is not None:
                odd.append((judged.suspicion, job.name))
            if judged.measurement is not None:
                rows.append(Row(job, judged.measurement.values))
                yield judged.measurement
            progress()

    stream = measurements()
    first = next(stream, None)
    if first is None:  # no pair can be judged: `problems` says why
        return None
    summary = summarise(chain([first], stream))
    return SetResult(name, tuple(rows), summary, tuple(odd))


def _judge(settings: Settings, job: Job) -> _Judged:
    """One pair, in a worker."""
    files = read_files(job.prediction, job.truth)
    if files.arrays is None:
        return _Judged(problems=files.problems)
    prediction, truth = resized(files.arrays[0], files.arrays[1].shape), files.arrays[1]
    found = measure(prediction, truth, settings.metrics, skeleton_cache=settings.skeletons)
    return _Judged(found, suspicion(correlation(prediction, truth), faint=files.faint and not settings.own))
