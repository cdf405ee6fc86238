"""The checked pair: its counts, its levels, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from birefnet.errors import InputError
from birefnet.evaluation.pair import Pair
from tests.evaluation.pairs import odd_pairs, random_pairs


@pytest.mark.parametrize(
    ("prediction", "truth", "says"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), "5x4 and its truth 4x5"),
        (np.zeros((4, 5), np.float32), np.zeros((4, 5), np.uint8), "prediction is float32"),
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), bool), "truth is bool"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8), r"\(4, 5, 3\)"),
        (np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8), "no pixels"),
        ([[0]], np.zeros((1, 1), np.uint8), "is a list"),
    ],
)
def test_what_is_no_pair_is_refused(prediction: np.ndarray, truth: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Pair(prediction, truth)


def test_counts_are_those_of_the_four_quarters() -> None:
    for pair in random_pairs(20):
        row, column = pair.centre
        for below, rows in enumerate((slice(0, row), slice(row, None))):
            for right, columns in enumerate((slice(0, column), slice(column, None))):
                for foreground in (0, 1):
                    values = pair.prediction[rows, columns][pair.foreground[rows, columns] == foreground]
                    wanted = np.bincount(values, minlength=256)
                    assert (pair.counts[below, right, foreground] == wanted).all()
        assert pair.inside.sum() + pair.outside.sum() == pair.size


def test_a_prediction_is_stretched_from_0_to_1() -> None:
    for pair in random_pairs(20):
        values = pair.prediction / 255
        values = (values - values.min()) / (values.max() - values.min())
        assert (pair.stretched[pair.prediction] == values).all()
        assert (pair.levels[pair.prediction] == (values * 255).astype(np.uint8)).all()


def test_a_constant_prediction_is_not_stretched() -> None:
    pair = Pair(np.full((3, 4), 51, np.uint8), np.zeros((3, 4), np.uint8))
    assert pair.stretched[51] == 0.2
    assert pair.levels[51] == 51


def test_reaching_a_level_is_having_it_or_more() -> None:
    for name, pair in odd_pairs():
        for level in (0, 1, 128, 129, 255):
            assert (pair.reaches(level) == (pair.levels[pair.prediction] >= level)).all(), name


def test_the_truth_is_foreground_above_128() -> None:
    pair = Pair(np.zeros((1, 3), np.uint8), np.array([[127, 128, 129]], np.uint8))
    assert pair.foreground.tolist() == [[False, False, True]]


def test_arrays_of_any_layout_do() -> None:
    prediction = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
    truth = np.where(prediction > 90, 255, 0).astype(np.uint8)
    flipped = Pair(prediction[::-1, ::2], truth[::-1, ::2])
    assert (flipped.counts == Pair(prediction[::-1, ::2].copy(), truth[::-1, ::2].copy()).counts).all()
