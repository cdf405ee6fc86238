"""The weighted F-measure: equal to the paper's maps, and to `pysodmetrics`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from birefnet.evaluation.pair import Pair
from birefnet.evaluation.weighted import weighted_f
from tests.evaluation.pairs import odd_pairs, random_pairs

pytest.importorskip("cv2")


def plain_weighted_f(pair: Pair) -> float:
    """As in the paper, pixel by pixel; of several nearest foreground pixels the leftmost, then the topmost."""
    truth = pair.foreground
    error = np.abs(pair.stretched[pair.prediction] - truth)
    rows, columns = np.nonzero(truth)
    spread, weight = error.copy(), np.ones(truth.shape)
    for y, x in np.argwhere(~truth):
        squared = (rows - y) ** 2 + (columns - x) ** 2
        nearest = np.lexsort((rows, columns, squared))[0]
        spread[y, x] = error[rows[nearest], columns[nearest]]
        weight[y, x] = 2 - 0.5 ** (math.sqrt(squared[nearest]) / 5)
    window = np.exp(-np.add.outer(np.arange(-3, 4) ** 2, np.arange(-3, 4) ** 2) / 50)
    window /= window.sum()
    padded = np.pad(spread, 3)
    smooth = np.array(
        [[(padded[y : y + 7, x : x + 7] * window).sum() for x in range(pair.width)] for y in range(pair.height)]
    )
    missed = np.minimum(error, smooth)[truth].sum()
    hits = truth.sum() - missed
    recall = hits / truth.sum()
    precision = hits / (hits + (error * weight)[~truth].sum() + np.finfo(float).eps)
    return float(2 * recall * precision / (recall + precision + np.finfo(float).eps))


def test_it_is_that_of_the_paper() -> None:
    for pair in random_pairs(12, largest=40, seed=8):
        assert weighted_f(pair) == pytest.approx(plain_weighted_f(pair), abs=1e-6)


def test_it_equals_pysodmetrics() -> None:
    other = pytest.importorskip("py_sod_metrics")
    for pair in [*random_pairs(30, seed=9), *random_pairs(30, seed=10, soft=False)]:
        wanted = other.WeightedFmeasure()
        wanted.step(pair.prediction, pair.truth)
        assert weighted_f(pair) == pytest.approx(wanted.get_results()["wfm"], abs=1e-6)


def test_scattered_truths_resolve_ties_as_published() -> None:
    other = pytest.importorskip("py_sod_metrics")
    random = np.random.default_rng(4)
    for share in (0.02, 0.1, 0.3, 0.7):
        for _ in range(10):
            prediction = random.integers(0, 256, (31, 47), np.uint8)
            truth = np.where(random.random((31, 47)) < share, 255, 0).astype(np.uint8)
            wanted = other.WeightedFmeasure()
            wanted.step(prediction, truth)
            assert weighted_f(Pair(prediction, truth)) == pytest.approx(wanted.get_results()["wfm"], abs=1e-6)


def test_odd_pairs_give_numbers() -> None:
    for name, pair in odd_pairs():
        value = weighted_f(pair)
        assert math.isfinite(value) and -1e-6 <= value <= 1 + 1e-6, name
        assert pair.foreground.any() or value == 0, name
