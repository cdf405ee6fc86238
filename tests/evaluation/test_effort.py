"""Human correction efforts: cases to count by hand, and `pysodmetrics`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from birefnet.evaluation import effort
from birefnet.evaluation.effort import human_correction_efforts
from birefnet.evaluation.pair import Grey, Pair
from tests.evaluation.pairs import odd_pairs, published, random_pairs

pytest.importorskip("cv2")


def square(size: int = 200, top: int = 40, left: int = 40, side: int = 100) -> Grey:
    picture = np.zeros((size, size), np.uint8)
    picture[top : top + side, left : left + side] = 255
    return picture


def test_a_perfect_prediction_costs_nothing() -> None:
    assert human_correction_efforts(Pair(square(), square())) == 0


def test_each_part_that_stands_alone_costs_a_click() -> None:
    prediction = square()
    prediction[5:25, 5:25] = prediction[5:25, 170:190] = 255  # far from the truth
    assert human_correction_efforts(Pair(prediction, square())) == 2


def test_a_missed_hole_costs_a_click() -> None:
    truth = square()
    truth[60:90, 60:90] = 0
    assert human_correction_efforts(Pair(square(), truth)) > 0
    filled = truth.copy()
    filled[60:90, 60:90] = 255
    assert human_correction_efforts(Pair(truth, filled)) > 0


def test_small_errors_are_forgiven_unless_the_skeleton_is_missed() -> None:
    prediction = square()
    prediction[60:66, 140:146] = 255  # a bump thinner than twice the relaxation
    assert human_correction_efforts(Pair(prediction, square())) == 0
    thin = square()
    thin[100, 140:190] = 255  # a hair of the truth that the prediction lacks
    assert human_correction_efforts(Pair(square(), thin)) >= 1


def test_a_bump_costs_the_corners_of_its_polygon() -> None:
    prediction = square()
    prediction[80:120, 140:180] = 255
    # The boundary to correct is where the bump meets the truth: one straight line, two points.
    assert human_correction_efforts(Pair(prediction, square())) == 2


def test_binary_masks_cost_what_pysodmetrics_says() -> None:
    other = pytest.importorskip("py_sod_metrics")
    costs = []
    # Binary ones, as it cuts soft ones at another level.
    for pair in random_pairs(40, soft=False, largest=250, seed=11):
        wanted = other.HumanCorrectionEffortMeasure()
        wanted.step(pair.prediction, pair.truth)
        costs.append(human_correction_efforts(pair))
        assert costs[-1] == wanted.get_results()["hce"]
    assert max(costs) > 50


def test_a_contour_inside_a_hole_bounds_a_region_of_its_own() -> None:
    # 0 is around 1 (a hole) around 2 (an island) around 3 (its hole); 4 stands beside.
    assert effort._regions(np.array([-1, 0, 1, 2, -1], np.int32)).tolist() == [0, 0, 2, 2, 4]


def test_the_cache_changes_nothing(tmp_path: Path) -> None:
    pair = Pair(*published("05"))
    plain = human_correction_efforts(pair)
    assert [human_correction_efforts(pair, skeleton_cache=tmp_path) for _ in range(2)] == [plain, plain]


def test_odd_pairs_give_numbers() -> None:
    for name, pair in odd_pairs():
        cost = human_correction_efforts(pair)
        assert cost >= 0 and cost == int(cost), name
