"""Predictions that look inverted, or hold 1 for white: nearly everyone meets them once, and metrics call them bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from birefnet.evaluation.files import Job
from birefnet.evaluation.pair import Grey
from birefnet.evaluation.problems import Problems
from birefnet.evaluation.reading import read_files

Suspicion = Literal["inverted", "faint"]  # kinds of `birefnet.evaluation.problems.KINDS`

PROBE = 24  # pairs of a set that are looked at before the work
INVERTED = -0.25  # a correlation of prediction and truth below this is no bad prediction but a turned one
LOOK = 256  # rows and columns that are enough to see it


def correlation(prediction: Grey, truth: Grey) -> float | None:
    """Pearson's, over a grid of at most 256 x 256 pixels; None where either is one flat grey.

    Args:
        prediction, truth: (H, W) uint8; their sizes may differ.
    """
    a, b = (_look(array).astype(np.float64) for array in (prediction, truth))
    a -= a.mean()
    b -= b.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / spread if spread > 0 else None


def suspicion(value: float | None, *, faint: bool) -> Suspicion | None:
    """What a prediction looks like, if not like one.

    Args:
        value: its `correlation` with its truth.
        faint: whether it is black but for one dark grey. A network that sees nothing writes such predictions too: only
            one that agrees with its truth was meant otherwise.
    """
    if value is None:
        return None
    return "inverted" if value < INVERTED else "faint" if faint and value > -INVERTED else None


def probe(jobs: Mapping[str, Sequence[Job]], *, own: bool = False) -> None:
    """Look at some pairs of each set, evenly spread: an hour of work should not end with "these look inverted".

    Files that cannot be read are passed over here; the run tells of all of them.

    Args:
        jobs: the pairs of each set.
        own: whether the predictions were made here, so that a dark one was meant so.

    Raises:
        DataError: if more than half of a set's pairs look inverted, or hold 0 and a dark grey only.
    """
    found = {}
    for name, pairs in jobs.items():
        chosen = pairs[:: max(1, -(-len(pairs) // PROBE))]
        looks = [(look, job.name) for job in chosen if (look := _look_at(job, own=own))]
        found[name] = (looks, len(chosen))
    refuse_suspicious("The predictions cannot be judged", found)


def refuse_suspicious(what: str, found: Mapping[str, tuple[Sequence[tuple[Suspicion, str]], int]]) -> None:
    """A few odd predictions are bad luck, and are told; more than half of those looked at are a mistake.

    Args:
        what: the beginning of the error's sentence.
        found: set -> what pairs look like with their names, and how many were looked at.

    Raises:
        DataError: if more than half of a set's pairs look the same way.
    """
    problems = Problems()
    for looks, looked_at in found.values():
        kinds = [kind for kind, _ in looks]
        for kind, name in looks:
            if 2 * kinds.count(kind) > looked_at:
                problems.add(kind, name)
    problems.check(what)


def _look_at(job: Job, *, own: bool) -> Suspicion | None:
    files = read_files(job.prediction, job.truth)
    if files.arrays is None:
        return None
    return suspicion(correlation(*files.arrays), faint=files.faint and not own)


def _look(array: Grey) -> Grey:
    rows, columns = (np.linspace(0, side - 1, LOOK).astype(int) for side in array.shape)
    seen: Grey = array[np.ix_(rows, columns)]
    return seen
