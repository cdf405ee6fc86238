"""Predictions that look inverted: nearly everyone meets them once, and every metric takes them for bad ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from birefnet.evaluation.files import Job
from birefnet.evaluation.masks import Grey, read_pair
from birefnet.evaluation.problems import Problems

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


def is_inverted(value: float | None) -> bool:
    """Whether a correlation is that of an inverted prediction."""
    return value is not None and value < INVERTED


def probe(jobs: Mapping[str, Sequence[Job]]) -> None:
    """Look at some pairs of each set, evenly spread: an hour of work should not end with "these look inverted".

    Files that cannot be read are passed over here; the run tells of all of them.

    Raises:
        DataError: if more than half of a set's pairs look inverted.
    """
    found = {}
    for name, pairs in jobs.items():
        some = pairs[:: max(1, -(-len(pairs) // PROBE))]
        found[name] = ([job.name for job in some if _looks_inverted(job)], len(some))
    refuse_inverted("The predictions cannot be judged", found)


def refuse_inverted(what: str, found: Mapping[str, tuple[Sequence[str], int]]) -> None:
    """A few turned predictions are bad luck, and are told; more than half of those looked at are a mistake.

    Args:
        what: the beginning of the error's sentence.
        found: set -> names of pairs that look inverted, and how many were looked at.

    Raises:
        DataError: if more than half of a set's pairs look inverted.
    """
    problems = Problems()
    for turned, looked_at in found.values():
        for name in turned if 2 * len(turned) > looked_at else ():
            problems.add("inverted", name)
    problems.check(what)


def _looks_inverted(job: Job) -> bool:
    pair, _ = read_pair(job.prediction, job.truth)
    return pair is not None and is_inverted(correlation(*pair))


def _look(array: Grey) -> Grey:
    rows, columns = (np.linspace(0, side - 1, LOOK).astype(int) for side in array.shape)
    seen: Grey = array[np.ix_(rows, columns)]
    return seen
