import numpy as np
import pytest

from birefnet.training.validation import score, summarise


def test_scores_by_hand() -> None:
    truth = np.zeros((4, 4), np.float32)
    truth[:2] = 1
    alpha = np.zeros((4, 4), np.float32)
    alpha[1:3] = 0.75
    iou, mae = score(alpha, truth)
    assert iou == pytest.approx(4 / 12)
    assert mae == pytest.approx((4 * 1 + 4 * 0.25 + 4 * 0.75) / 16)


def test_nothing_found_where_nothing_is_is_right() -> None:
    nothing = np.zeros((4, 4), np.float32)
    assert score(nothing, nothing) == (1.0, 0.0)


def test_means_are_over_pictures_not_over_sets() -> None:
    scores = summarise({"a": [(1.0, 0.0)] * 3, "b": [(0.0, 0.4)]})
    assert scores["a"].iou == 1 and scores["b"].count == 1
    assert scores["all"].iou == pytest.approx(0.75) and scores["all"].mae == pytest.approx(0.1)
