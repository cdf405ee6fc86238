"""Region metrics: equal to their definitions pixel by pixel, and to `pysodmetrics`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from birefnet.evaluation import region
from birefnet.evaluation.pair import Pair
from tests.evaluation.pairs import odd_pairs, random_pairs

EPSILON = np.finfo(np.float64).eps


def plain_f(predicted: np.ndarray, truth: np.ndarray) -> float:
    hits = np.count_nonzero(predicted & truth)
    precision = hits / max(1, np.count_nonzero(predicted))
    recall = hits / max(1, np.count_nonzero(truth))
    return 1.3 * precision * recall / (0.3 * precision + recall) if hits else 0.0


def plain_e(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Enhanced alignment as in the paper, over maps."""
    p, t = predicted - predicted.mean(), truth - truth.mean()
    alignment = 2 * p * t / (p * p + t * t + EPSILON)
    return float(((1 + alignment) ** 2 / 4).sum() / (truth.size - 1))


def plain_s(p: np.ndarray, truth: np.ndarray) -> float:
    """The structure measure as in the paper, over maps."""
    t = truth.astype(np.float64)

    def likeness(values: np.ndarray) -> float:
        deviation = values.std(ddof=1) if values.size > 1 else 0.0
        return float(2 * values.mean() / (values.mean() ** 2 + 1 + deviation + EPSILON))

    objects = t.mean() * likeness(p[truth]) + (1 - t.mean()) * likeness(1 - p[~truth])
    row, column = (round(places.mean()) + 1 for places in np.nonzero(truth))
    regions = 0.0
    for rows in (slice(0, row), slice(row, None)):
        for columns in (slice(0, column), slice(column, None)):
            a, b = p[rows, columns], t[rows, columns]
            if a.size > 1:
                spread = a.var(ddof=1) + b.var(ddof=1)
                common = ((a - a.mean()) * (b - b.mean())).sum() / (a.size - 1)
                above = 4 * a.mean() * b.mean() * common
                below = (a.mean() ** 2 + b.mean() ** 2) * spread
                regions += a.size * (above / (below + EPSILON) if above else float(below == 0))
            elif a.size:
                regions += 1
    return max(0.0, objects / 2 + regions / t.size / 2)


def test_errors_are_means_over_pixels() -> None:
    for pair in random_pairs(20):
        difference = pair.stretched[pair.prediction] - pair.foreground
        assert region.mean_absolute_error(pair) == pytest.approx(np.abs(difference).mean(), abs=1e-12)
        assert region.mean_squared_error(pair) == pytest.approx((difference**2).mean(), abs=1e-12)


def test_iou_cuts_at_one_half_and_stretches_nothing() -> None:
    truth = np.array([[255, 255, 0, 0]], np.uint8)
    assert region.iou(Pair(np.array([[128, 127, 128, 0]], np.uint8), truth)) == 1 / 3
    assert region.iou(Pair(truth // 2, truth)) == 0
    assert region.iou(Pair(truth * 0, truth * 0)) == 1


def test_the_f_curve_is_the_f_measure_of_each_threshold_set() -> None:
    for pair in random_pairs(5):
        level = pair.levels[pair.prediction]
        wanted = [plain_f(level >= threshold, pair.foreground) for threshold in range(256)]
        assert region.f_curve(pair) == pytest.approx(wanted, abs=1e-12)


def test_the_e_curve_is_the_e_measure_of_each_threshold_set() -> None:
    for pair in random_pairs(5):
        level = pair.levels[pair.prediction]
        wanted = [plain_e(level >= threshold, pair.foreground) for threshold in range(256)]
        assert region.e_curve(pair) == pytest.approx(wanted, abs=1e-12)


def test_adaptive_thresholds_are_twice_the_mean() -> None:
    for pair in random_pairs(20):
        p = pair.stretched[pair.prediction]
        chosen = p >= min(2 * p.mean(), 1)
        assert region.adaptive_f(pair) == pytest.approx(plain_f(chosen, pair.foreground), abs=1e-12)
        assert region.adaptive_e(pair) == pytest.approx(plain_e(chosen, pair.foreground), abs=1e-12)


def test_the_s_measure_is_that_of_the_paper() -> None:
    for pair in random_pairs(40):
        assert region.s_measure(pair) == pytest.approx(
            plain_s(pair.stretched[pair.prediction], pair.foreground), abs=1e-12
        )


def test_flat_parts_are_alike() -> None:
    truth = np.zeros((8, 8), np.uint8)
    truth[:4] = 255
    # 0.3 cannot be summed exactly; the quarters are still known to be flat.
    assert region.s_measure(Pair(np.where(truth > 0, 255, 77).astype(np.uint8), truth)) == pytest.approx(1)
    # A constant one has three of eight rows in flat quarters; the others, flat beside an edge, have no likeness.
    x = 77 / 255
    objects = x / (x * x + 1) + (1 - x) / ((1 - x) ** 2 + 1)
    assert region.s_measure(Pair(np.full((8, 8), 77, np.uint8), truth)) == pytest.approx((objects + 3 / 8) / 2)


def test_the_metrics_equal_those_of_pysodmetrics() -> None:
    other = pytest.importorskip("py_sod_metrics")
    for pair in [*random_pairs(20, seed=5), *random_pairs(20, seed=6, soft=False)]:
        s, mae, f, e = other.Smeasure(), other.MAE(), other.Fmeasure(), other.Emeasure()
        for one in (s, mae, f, e):
            one.step(pair.prediction, pair.truth)
        curves_f, curves_e = f.get_results(), e.get_results()
        assert region.s_measure(pair) == pytest.approx(s.get_results()["sm"], abs=1e-9)
        assert region.mean_absolute_error(pair) == pytest.approx(mae.get_results()["mae"], abs=1e-9)
        assert sorted(region.f_curve(pair)) == pytest.approx(sorted(curves_f["fm"]["curve"]), abs=1e-9)
        assert region.adaptive_f(pair) == pytest.approx(curves_f["fm"]["adp"], abs=1e-9)
        precision, recall = region.precision_recall(pair)
        assert precision[::-1] == pytest.approx(curves_f["pr"]["p"], abs=1e-9)
        assert recall[::-1] == pytest.approx(curves_f["pr"]["r"], abs=1e-9)
        assert region.e_curve(pair)[::-1] == pytest.approx(curves_e["em"]["curve"], abs=1e-9)  # type: ignore[index]
        assert region.adaptive_e(pair) == pytest.approx(curves_e["em"]["adp"], abs=1e-9)


def test_odd_pairs_give_numbers_or_none() -> None:
    for name, pair in odd_pairs():
        for metric in (region.s_measure, region.mean_absolute_error, region.adaptive_f, region.iou):
            value = metric(pair)
            assert math.isfinite(value) and -1e-9 <= value <= 1 + 1e-9, f"{metric.__name__} of {name}"
        e, curve = region.adaptive_e(pair), region.e_curve(pair)
        assert (e is None) == (curve is None) == (pair.size == 1), name
        if curve is not None:
            assert np.isfinite(curve).all() and e is not None and math.isfinite(e), name
        assert np.isfinite(region.f_curve(pair)).all(), name
