"""Inverted predictions are found; bad ones are not taken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import DataError
from birefnet.evaluation.files import Job, find_sets, match
from birefnet.evaluation.inverted import correlation, suspicion
from birefnet.evaluation.run import Settings, measure_sets
from tests.evaluation.drawn import disc, draw_set

SETTINGS = Settings(metrics=("S", "MAE"))


def invert(job: Job) -> None:
    Image.fromarray(255 - np.asarray(Image.open(job.prediction))).save(job.prediction)


def drawn(root: Path, count: int) -> dict[str, list[Job]]:
    predictions, home = draw_set(root, count=count)
    return match(predictions, find_sets([home]), resize=False, allow_extra=False)


def test_correlation() -> None:
    truth, far = disc(), disc(0.9, 0.2)
    assert correlation(truth, truth) == pytest.approx(1)
    assert correlation(255 - truth, truth) == pytest.approx(-1)
    assert correlation(disc(width=120, height=80), truth) == pytest.approx(1, abs=0.05)  # sizes may differ
    assert suspicion(correlation(far, truth), faint=False) is None  # it misses everything, but is not turned
    assert correlation(np.zeros_like(truth), truth) is None and suspicion(None, faint=True) is None
    assert correlation(truth, np.full_like(truth, 255)) is None


def test_a_set_that_is_inverted_is_refused_unless_allowed(tmp_path: Path) -> None:
    jobs = drawn(tmp_path, 4)
    for job in jobs["set"][:3]:
        invert(job)
    with pytest.raises(DataError) as caught:
        measure_sets(jobs, SETTINGS, workers=1)
    assert str(caught.value).startswith("The predictions cannot be judged: 3 predictions look inverted: `00`, `01`,")
    assert "`allow_inverted=True`" in str(caught.value.hint)
    (result,) = measure_sets(jobs, SETTINGS, workers=1, allow_inverted=True)
    assert result.looking("inverted") == ["00", "01", "02"] and result.summary.values["MAE"] > 0.5


def test_a_few_inverted_ones_are_told_and_judged(tmp_path: Path) -> None:
    jobs = drawn(tmp_path, 5)
    invert(jobs["set"][3])
    (result,) = measure_sets(jobs, SETTINGS, workers=1)
    assert result.looking("inverted") == ["03"] and len(result.rows) == 5


def test_what_a_probe_did_not_see_is_seen_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birefnet.evaluation.inverted.PROBE", 1)
    jobs = drawn(tmp_path, 5)
    for job in jobs["set"][1:]:
        invert(job)
    with pytest.raises(DataError, match="The evaluation gives no result: 4 predictions look inverted"):
        measure_sets(jobs, SETTINGS, workers=1)


@pytest.mark.parametrize("white", [1, 15])
def test_a_set_that_holds_one_for_white_is_refused_unless_allowed(tmp_path: Path, white: int) -> None:
    jobs = drawn(tmp_path, 4)
    for job in jobs["set"][1:]:
        Image.fromarray((np.asarray(Image.open(job.prediction)) > 128).astype(np.uint8) * white).save(job.prediction)
    with pytest.raises(DataError) as caught:
        measure_sets(jobs, SETTINGS, workers=1)
    assert "3 predictions hold 0 and a dark grey only: `01`, `02`, `03`" in str(caught.value)
    assert "white is 255" in str(caught.value.hint)
    (result,) = measure_sets(jobs, SETTINGS, workers=1, allow_inverted=True)
    assert result.looking("faint") == ["01", "02", "03"]


def test_one_that_holds_one_for_white_is_told(tmp_path: Path) -> None:
    jobs = drawn(tmp_path, 5)
    ones = jobs["set"][3].prediction
    Image.fromarray((np.asarray(Image.open(ones)) > 128).astype(np.uint8)).save(ones)
    (result,) = measure_sets(jobs, SETTINGS, workers=1)
    assert result.looking("faint") == ["03"] and len(result.rows) == 5


def test_a_network_that_sees_nothing_is_judged(tmp_path: Path) -> None:
    jobs = drawn(tmp_path, 4)
    random = np.random.default_rng(0)
    for job in jobs["set"]:  # an alpha that is nowhere above 1/255, here and there rounded up
        Image.fromarray((random.random((40, 60)) > 0.9).astype(np.uint8)).save(job.prediction)
    (result,) = measure_sets(jobs, SETTINGS, workers=1)
    assert result.odd == () and result.summary.values["MAE"] is not None
