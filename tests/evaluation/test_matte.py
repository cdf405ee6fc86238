"""Metrics of mattes: their definitions, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from birefnet.evaluation import matte
from birefnet.evaluation.pair import Pair
from tests.evaluation.pairs import blobs, odd_pairs

cv2 = pytest.importorskip("cv2")


def pairs(number: int) -> list[Pair]:
    random = np.random.default_rng(12)
    results = []
    for _ in range(number):
        height, width = random.integers(8, 60, 2)
        truth = blobs(random, height, width, 2)
        noise = random.normal(0, 30, truth.shape)
        results.append(Pair(np.clip(truth + noise, 0, 255).astype(np.uint8), truth))
    return results


def test_sad_sums_soft_differences() -> None:
    for pair in pairs(10):
        wanted = np.abs(pair.prediction / 255 - pair.truth / 255).sum() / 1000
        assert matte.sum_of_absolute_differences(pair) == pytest.approx(wanted, abs=1e-12)


def test_means_of_soft_differences() -> None:
    for pair in pairs(10):
        difference = np.abs(pair.prediction / 255 - pair.truth / 255)
        assert matte.mean_absolute_difference(pair) == pytest.approx(difference.mean(), abs=1e-12)
        assert matte.mean_squared_difference(pair) == pytest.approx((difference**2).mean(), abs=1e-12)


def plain_gradient(alpha: np.ndarray) -> np.ndarray:
    """Length of the gradient by a full two-dimensional filter."""
    sigma = 1.4
    reach = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))
    offsets = np.arange(-reach, reach + 1)
    gauss = np.exp(-(offsets**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    across = np.outer(gauss, -offsets * gauss / sigma**2)
    across /= np.sqrt((across**2).sum())
    padded = np.pad(alpha, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, across.shape)
    parts = [(windows * filter_).sum(axis=(2, 3)) for filter_ in (across, across.T)]
    return np.asarray(np.hypot(*parts))


def test_grad_compares_lengths_of_gaussian_gradients() -> None:
    for pair in pairs(6):
        lengths = [plain_gradient(grey / 255) for grey in (pair.prediction, pair.truth)]
        wanted = ((lengths[0] - lengths[1]) ** 2).sum() / 1000
        assert matte.gradient_error(pair) == pytest.approx(wanted, rel=1e-4, abs=1e-9)


def plain_connectivity(pair: Pair) -> float:
    """As in the paper, with maps; regions found by flooding."""
    p, t = pair.prediction / 255, pair.truth / 255
    reached = np.full(p.shape, -1.0)
    for step in range(1, 11):
        common = (p >= step / 10) & (t >= step / 10)
        largest = np.zeros_like(common)
        left = common.copy()
        while left.any():
            flood = left.astype(np.uint8)
            y, x = np.argwhere(left)[0]
            cv2.floodFill(flood, None, (int(x), int(y)), 2, flags=4)
            region = flood == 2
            left &= ~region
            if region.sum() > largest.sum():
                largest = region
        reached[(reached == -1) & ~largest] = (step - 1) / 10
    reached[reached == -1] = 1
    degrees = [1 - (a - reached) * (a - reached >= 0.15) for a in (p, t)]
    return float(np.abs(degrees[0] - degrees[1]).sum() / 1000)


def test_conn_compares_how_well_pixels_connect() -> None:
    for pair in pairs(20):
        assert matte.connectivity_error(pair) == pytest.approx(plain_connectivity(pair), abs=1e-6)


def test_a_part_that_stands_alone_lacks_connection() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[2:12, 2:12] = 255
    alone = truth.copy()
    alone[15:18, 15:18] = 255
    assert matte.connectivity_error(Pair(alone, truth)) == pytest.approx(9 / 1000)
    joined = truth.copy()
    joined[12, 2:11] = 128
    assert matte.connectivity_error(Pair(joined, truth)) == pytest.approx(9 * 128 / 255 / 1000)


def test_perfect_mattes_have_no_error_and_odd_ones_numbers() -> None:
    metrics = (matte.sum_of_absolute_differences, matte.gradient_error, matte.connectivity_error)
    for name, pair in odd_pairs():
        for metric in metrics:
            value = metric(pair)
            assert math.isfinite(value) and value >= 0, f"{metric.__name__} of {name}"
            assert metric(Pair(pair.truth, pair.truth)) == 0, f"{metric.__name__} of {name}"
