"""Metrics of regions, from counts alone: errors, IoU, F-measure, E-measure, S-measure. All in [0, 1].

Every threshold set of a prediction is known from two histograms of its grey levels, over the foreground and over
the background of the truth; so the curves over 256 thresholds cost one pass over the picture. Index t of a curve
belongs to the set of pixels whose stretched level is at least t.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from birefnet.evaluation.pair import Pair

Curve = NDArray[np.float64]  # (256,), one value per threshold

EPSILON = float(np.finfo(np.float64).eps)  # as in the published evaluations, where a denominator may vanish
BETA_SQUARED = 0.3  # precision counts more than recall (Achanta et al., CVPR 2009)
IOU_LEVEL = 127  # above it a pixel is foreground for the plain IoU, which stretches nothing


def mean_absolute_error(pair: Pair) -> float:
    """MAE: mean of |p - t| over the pixels, p the stretched prediction, t the binary truth."""
    return float(pair.inside @ (1 - pair.stretched) + pair.outside @ pair.stretched) / pair.size


def mean_squared_error(pair: Pair) -> float:
    """MSE: mean of (p - t)^2 over the pixels, p the stretched prediction, t the binary truth."""
    return float(pair.inside @ (1 - pair.stretched) ** 2 + pair.outside @ pair.stretched**2) / pair.size


def iou(pair: Pair) -> float:
    """Intersection over union of prediction and truth, both cut at one half and not stretched; 1 if both are empty."""
    predicted, true = pair.prediction > IOU_LEVEL, pair.truth > IOU_LEVEL
    union = np.count_nonzero(predicted | true)
    return np.count_nonzero(predicted & true) / union if union else 1.0


def positives(pair: Pair) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(256,) true positives and (256,) false positives at each threshold."""
    return at_least(by_level(pair.inside, pair)), at_least(by_level(pair.outside, pair))


def by_level(counts: NDArray[np.int64], pair: Pair) -> NDArray[np.int64]:
    """(256,) counts of grey levels as counts of stretched levels."""
    result = np.zeros(256, np.int64)
    np.add.at(result, pair.levels, counts)
    return result


def at_least(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(256,) how many reach each level, from how many have it."""
    return counts[::-1].cumsum()[::-1]


def precision_recall(pair: Pair) -> tuple[Curve, Curve]:
    """(256,) precision and (256,) recall at each threshold; 0 where nothing is predicted, or nothing is true."""
    true, false = positives(pair)
    return true / np.maximum(true + false, 1), true / max(1, int(pair.inside.sum()))


def f_curve(pair: Pair) -> Curve:
    """(256,) F-measure, beta^2 = 0.3, at each threshold (Achanta et al., CVPR 2009); 0 where both parts are 0."""
    return _f_measure(*precision_recall(pair))


def adaptive_f(pair: Pair) -> float:
    """F-measure at twice the mean of the stretched prediction, at most 1 (Achanta et al., CVPR 2009)."""
    true, false = _adaptive_positives(pair)
    precision, recall = true / max(1, true + false), true / max(1, int(pair.inside.sum()))
    return float(_f_measure(np.array(precision), np.array(recall)))


def e_curve(pair: Pair) -> Curve | None:
    """(256,) E-measure at each threshold; the rules of `adaptive_e` hold."""
    return None if pair.size == 1 else _e_measure(pair, *positives(pair))


def adaptive_e(pair: Pair) -> float | None:
    """E-measure at twice the mean of the stretched prediction (Fan et al., IJCAI 2018).

    The published form divides by one pixel less than there are, so a perfect prediction scores a little more than
    1; and None, not defined, for a picture of a single pixel.
    """
    if pair.size == 1:
        return None
    true, false = _adaptive_positives(pair)
    return float(_e_measure(pair, np.array(true), np.array(false)))


def s_measure(pair: Pair) -> float:
    """S-measure, alpha = 0.5: mean of the object's and the region's likeness (Fan et al., ICCV 2017).

    An empty truth scores what share of the prediction is dark, a full one what share is bright, as published.
    """
    share = int(pair.inside.sum()) / pair.size
    if share in (0.0, 1.0):
        mean = float((pair.inside + pair.outside) @ pair.stretched) / pair.size
        return mean if share else 1 - mean
    inside = _object_likeness(pair.inside, pair.stretched)
    outside = _object_likeness(pair.outside, 1 - pair.stretched)
    parts = share * inside + (1 - share) * outside
    quarters = sum(_region_likeness(quarter, pair.stretched) for quarter in pair.counts.reshape(4, 2, 256))
    return max(0.0, 0.5 * parts + 0.5 * quarters / pair.size)


def _f_measure(precision: Curve, recall: Curve) -> Curve:
    below = BETA_SQUARED * precision + recall
    return (1 + BETA_SQUARED) * precision * recall / np.where(below == 0, 1, below)


def _adaptive_positives(pair: Pair) -> tuple[int, int]:
    mean = float((pair.inside + pair.outside) @ pair.stretched) / pair.size
    chosen = pair.stretched >= min(2 * mean, 1.0)
    return int(pair.inside[chosen].sum()), int(pair.outside[chosen].sum())


def _e_measure(pair: Pair, true: NDArray[np.int64], false: NDArray[np.int64]) -> Curve:
    """Enhanced alignment: it depends only on how many pixels are in each of the four cases of the two masks."""
    foreground, predicted = int(pair.inside.sum()), true + false
    background = pair.size - foreground
    if foreground == 0:  # the share left empty
        total = (pair.size - predicted).astype(np.float64)
    elif background == 0:  # the share filled
        total = predicted.astype(np.float64)
    else:
        p, t = predicted / pair.size, foreground / pair.size  # means of the two masks, taken off below
        cases = (
            (true, 1 - p, 1 - t),
            (false, 1 - p, -t),
            (foreground - true, -p, 1 - t),
            (background - false, -p, -t),
        )
        total = sum((np.asarray(n * _alignment(a, b)) for n, a, b in cases), np.zeros(np.shape(true)))
    return total / (pair.size - 1 + EPSILON)


def _alignment(a: Curve, b: float) -> Curve:
    return (1 + 2 * a * b / (a * a + b * b + EPSILON)) ** 2 / 4


def _object_likeness(counts: NDArray[np.int64], values: Curve) -> float:
    """How bright and even the values are, from how many pixels have each of them."""
    number = int(counts.sum())
    mean = float(counts @ values) / number
    spread = math.sqrt(float(counts @ (values - mean) ** 2) / max(1, number - 1))
    return 2 * mean / (mean * mean + 1 + spread + EPSILON)


def _region_likeness(counts: NDArray[np.int64], values: Curve) -> float:
    """Structural likeness of one quarter, times its number of pixels; `counts` is (2, 256), background first."""
    number = int(counts.sum())
    if number == 0:
        return 0.0
    both = counts.sum(axis=0)
    p, t = float(both @ values) / number, int(counts[1].sum()) / number
    flat = np.count_nonzero(both) == 1  # said in so many words, as sums round
    away = np.zeros(256) if flat else values - p
    below = max(1, number - 1)
    spread = (float(both @ away**2) + number * t * (1 - t)) / below  # sum of the two variances
    common = (float(counts[1] @ away) * (1 - t) - float(counts[0] @ away) * t) / below
    above, under = 4 * p * t * common, (p * p + t * t) * spread
    if above == 0:  # one of the two is flat or dark; alike only if both are flat, or both dark
        return float(number * (under == 0))
    return number * above / (under + EPSILON)
