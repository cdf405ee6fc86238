"""Boundary metrics: equal to morphology done plainly, and to OpenCV's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from birefnet.evaluation import boundary
from birefnet.evaluation.pair import Pair
from tests.evaluation.pairs import odd_pairs, random_pairs


def least_around(grey: np.ndarray, reach: int) -> np.ndarray:
    """Least value in squares, 0 outside of the picture."""
    padded = np.pad(grey, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(windows.min(axis=(2, 3)))


def test_the_curve_is_the_iou_of_grey_boundaries() -> None:
    for pair in random_pairs(6, largest=70):
        reach = max(1, round(0.02 * math.hypot(pair.height, pair.width)))
        level = pair.levels[pair.prediction]
        band = level - least_around(level, reach)
        true = pair.foreground & (least_around(pair.foreground, reach) == 0)
        wanted = []
        for threshold in range(256):
            union = np.count_nonzero((band >= threshold) | true)
            wanted.append(np.count_nonzero((band >= threshold) & true) / max(1, union))
        assert boundary.boundary_iou_curve(pair) == pytest.approx(wanted, abs=1e-12)


def test_a_binary_prediction_has_the_boundary_iou_of_its_mask() -> None:
    truth = np.zeros((50, 50), np.uint8)
    truth[10:40, 10:40] = 255
    prediction = np.roll(truth, 1, 1)
    frames = [mask & ~(least_around(mask, 1) > 0) for mask in (truth > 0, prediction > 0)]
    wanted = np.count_nonzero(frames[0] & frames[1]) / np.count_nonzero(frames[0] | frames[1])
    curve = boundary.boundary_iou_curve(Pair(prediction, truth))
    assert curve[1:] == pytest.approx(wanted)
    assert 0 < wanted < 1


def test_disks_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    for radius in range(1, 80):
        size = 2 * radius + 1
        rows = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).sum(axis=1)
        assert [2 * reach + 1 for reach in boundary._disk(radius)] == rows[radius:].tolist()


def test_boundary_accuracy_is_that_of_morphological_gradients() -> None:
    cv2 = pytest.importorskip("cv2")
    for pair in random_pairs(10, largest=1500, seed=2):
        right = (pair.prediction > 128) == pair.foreground
        shares = []
        for radius in boundary.boundary_radii(pair.height, pair.width):
            disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            near = cv2.morphologyEx(pair.foreground.view(np.uint8), cv2.MORPH_GRADIENT, disk) > 0
            shares.append(right[near].mean())
        assert boundary.mean_boundary_accuracy(pair) == pytest.approx(np.mean(shares), abs=1e-12)


def test_radii_grow_with_the_picture() -> None:
    assert boundary.boundary_radii(300, 300) == [1, 1, 1, 1, 1]
    assert boundary.boundary_radii(2048, 3072) == [1, 4, 7, 10, 13]


def test_odd_pairs_give_numbers_or_none() -> None:
    for name, pair in odd_pairs():
        curve, accuracy = boundary.boundary_iou_curve(pair), boundary.mean_boundary_accuracy(pair)
        assert np.isfinite(curve).all() and curve.min() >= 0 and curve.max() <= 1, name
        assert (accuracy is None) == (pair.foreground.all() or not pair.foreground.any()), name
        assert accuracy is None or 0 <= accuracy <= 1, name
