"""All metrics of a pair and of a set: the reference's figures, what is not defined, and what is refused."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from birefnet.errors import ConfigError, InputError, MissingExtra
from birefnet.evaluation.measure import MATTE, METRICS, STANDARD, Measurement, check_metrics, measure, summarise
from tests.evaluation.pairs import EXPECTED, NAMES, odd_pairs, published


@pytest.fixture(scope="module")
def measured() -> dict[str, Measurement]:
    pytest.importorskip("cv2")
    return {name: measure(*published(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_figures_of_each_picture_are_the_references(measured: dict[str, Measurement], name: str) -> None:
    wanted = EXPECTED["per_image"][name]
    assert set(wanted) == set(STANDARD)
    assert measured[name].values["HCE"] == wanted["HCE"]
    assert measured[name].values == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("key", "names"), [("set_00_to_05", NAMES[:6]), ("set_all", NAMES)])
def test_figures_of_a_set_are_the_references(measured: dict[str, Measurement], key: str, names: list[str]) -> None:
    summary = summarise(measured[name] for name in names)
    wanted = dict(EXPECTED[key])
    if key == "set_all":  # there it is not a number, as two pictures have none
        assert wanted.pop("MBA") is None
        defined = [value for name in names if (value := measured[name].values["MBA"]) is not None]
        assert summary.values["MBA"] == pytest.approx(np.mean(defined))
        assert summary.undefined == {"MBA": 2}
    else:
        assert summary.undefined == {}
    assert summary.count == len(names)
    assert {name: summary.values[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_the_best_threshold_of_a_set_is_that_of_the_mean_curve(measured: dict[str, Measurement]) -> None:
    some = [measured[name] for name in NAMES[:6]]
    mean = np.mean([one.curves["F"] for one in some], axis=0)
    summary = summarise(some)
    assert summary.values["maxF"] == pytest.approx(mean.max())
    assert summary.values["maxF"] < np.mean([one.values["maxF"] for one in some])
    assert set(summary.curves) == {"F", "precision", "recall", "E", "BIoU"}
    assert summary.curves["F"] == pytest.approx(mean)


def test_values_come_in_the_order_asked_for() -> None:
    names = ["MAE", "maxF", "IoU", "S"]
    one = measure(*published("00"), metrics=names)
    assert list(one.values) == names
    assert set(one.curves) == {"F", "precision", "recall"}
    assert list(summarise([one]).values) == names


def test_odd_pairs_give_numbers_or_none() -> None:
    pytest.importorskip("cv2")
    measurements = []
    for name, pair in odd_pairs():
        one = measure(pair.prediction, pair.truth, tuple(METRICS))
        for metric, value in one.values.items():
            assert value is None or math.isfinite(value), f"{metric} of {name}"
        measurements.append(one)
    summary = summarise(measurements)
    assert set(summary.undefined) == {name for name, row in METRICS.items() if row.undefined}
    assert all(value is not None for value in summary.values.values())


def test_a_metric_that_is_never_defined_is_none() -> None:
    empty = np.zeros((20, 20), np.uint8)
    summary = summarise([measure(empty, empty, ["MBA", "MAE"])] * 3)
    assert summary.values == {"MBA": None, "MAE": 0.0}
    assert summary.undefined == {"MBA": 3}


def test_the_table_is_whole() -> None:
    assert set(STANDARD) | set(MATTE) | {"IoU"} == set(METRICS)
    assert [row.name for row in METRICS.values() if row.better == "lower"] == [
        "MAE", "MSE", "HCE", "SAD", "MAD", "MSD", "Grad", "Conn",
    ]  # fmt: skip
    assert METRICS["MAE"].latex == r"$\mathrm{MAE}\downarrow$"
    assert METRICS["S"].latex == r"$S_\alpha\uparrow$"


def test_what_needs_no_opencv_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)  # what importing something absent looks like
    names = [name for name, row in METRICS.items() if row.needs is None]
    assert {"S", "MAE", "MSE", "maxF", "maxE", "IoU", "SAD"} <= set(names)
    assert list(measure(*published("00"), names).values) == names
    for name in set(METRICS) - set(names):
        with pytest.raises(MissingExtra, match=r"birefnet\[evaluate\]"):
            measure(*published("00"), [name])


def test_unknown_metrics_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="`maxf`; known: S, MAE") as caught:
        check_metrics(["S", "maxf"])
    assert caught.value.hint == "did you mean `maxF`?"


def test_sets_must_be_measured_alike() -> None:
    pair = published("00")
    with pytest.raises(InputError, match="measured with MAE, others with S"):
        summarise([measure(*pair, ["S"]), measure(*pair, ["MAE"])])
    with pytest.raises(InputError, match="nothing to summarise"):
        summarise([])
