"""Sets of pairs: the same numbers however many work, nothing kept but numbers, nothing half told."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import DataError
from birefnet.evaluation import run
from birefnet.evaluation.files import Job, find_sets, match
from birefnet.evaluation.measure import Measurement, measure, summarise
from birefnet.evaluation.run import Settings, measure_sets, resized
from tests.evaluation.drawn import disc, draw_set

SETTINGS = Settings(metrics=("S", "MAE", "maxF", "meanE"))


def jobs_of(root: Path, count: int = 3) -> dict[str, list[Job]]:
    predictions, home = draw_set(root, count=count)
    return match(predictions, find_sets([home]), resize=False, allow_extra=False)


def test_values_are_those_of_the_metrics(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path)
    (result,) = measure_sets(jobs, SETTINGS, workers=1)
    pairs = [tuple(np.asarray(Image.open(path)) for path in (job.prediction, job.truth)) for job in jobs["set"]]
    wanted = [measure(prediction, truth, SETTINGS.metrics) for prediction, truth in pairs]
    assert [row.values for row in result.rows] == [one.values for one in wanted]
    assert [row.job.stem for row in result.rows] == ["00", "01", "02"]
    assert result.summary.values == summarise(wanted).values
    assert result.name == "set" and not result.odd


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, 9)
    seen: list[int] = []
    (one,) = measure_sets(jobs, SETTINGS, workers=1, progress=lambda: seen.append(1))
    (two,) = measure_sets(jobs, SETTINGS, workers=2, progress=lambda: seen.append(2))
    assert one.rows == two.rows and one.summary.values == two.summary.values
    assert all(np.array_equal(one.summary.curves[name], two.summary.curves[name]) for name in one.summary.curves)
    assert (seen.count(1), seen.count(2)) == (9, 9)


def test_curves_are_summed_as_they_pass_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: set[int] = set()
    most = 0

    def watched(*arguments: Any, **options: Any) -> Measurement:
        nonlocal most
        found = measure(*arguments, **options)
        for curve in found.curves.values():
            alive.add(id(curve))
            weakref.finalize(curve, alive.discard, id(curve))
        most = max(most, len(alive))
        return found

    monkeypatch.setattr(run, "measure", watched)
    measure_sets(jobs_of(tmp_path, 24), SETTINGS, workers=1)
    assert 0 < most <= 12  # four curves of each pair: those of three pairs at most, not of 24


def test_damage_found_on_the_way_is_collected_and_no_table_comes(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, 6)
    colour = np.zeros((40, 60, 3), np.uint8)
    colour[0, 0] = 255, 0, 0
    Image.fromarray(colour).save(jobs["set"][1].prediction)
    Image.fromarray(colour).save(jobs["set"][2].truth)
    data = jobs["set"][4].prediction.read_bytes()
    jobs["set"][4].prediction.write_bytes(data[: len(data) // 2])
    Image.fromarray((disc() > 128).astype(np.uint8)).save(jobs["set"][5].truth)
    for workers in (1, 2):
        with pytest.raises(DataError) as caught:
            measure_sets(jobs, SETTINGS, workers=workers)
        text = str(caught.value)
        assert text.startswith("The evaluation was broken off without a result: 1 file cannot be read: `set/04.png`")
        assert "2 files have colours: `set/01.png`, `gt/02.png`" in text
        assert "1 mask is nowhere near white: `gt/05.png` (it holds 0 and 1)" in text


def test_a_set_without_a_single_good_pair(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, 1)
    jobs["set"][0].truth.write_bytes(jobs["set"][0].truth.read_bytes()[:80])
    with pytest.raises(DataError, match="1 file cannot be read"):
        measure_sets(jobs, SETTINGS, workers=1)


def test_resizing_is_bilinear_and_leaves_equal_sizes_alone() -> None:
    pytest.importorskip("cv2")
    small = np.array([[0, 200], [0, 200]], np.uint8)
    assert resized(small, (2, 2)) is small
    np.testing.assert_array_equal(resized(small, (2, 4)), [[0, 50, 150, 200]] * 2)
