"""A model's predictions: those of `birefnet remove`, made once, never mixed with another model's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import ConfigError, PictureError
from birefnet.evaluation.files import find_sets
from birefnet.evaluation.predict import MADE_BY, predict_sets
from birefnet.remover import Remover
from birefnet.runtimes.select import select
from tests.brightness import brightness_model
from tests.evaluation.drawn import draw_set


def test_predictions_are_the_masks_of_remove_and_are_made_once(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path)
    sets, out, steps = find_sets([home], with_pictures=True), tmp_path / "out", []
    runtime = select(standin)
    predict_sets(runtime, standin, sets, out, progress=lambda: steps.append(1))
    assert len(steps) == 3 and sorted(path.name for path in out.iterdir()) == [MADE_BY, "set"]
    made = np.asarray(Image.open(out / "set/01.png"))
    np.testing.assert_array_equal(made, Remover(standin)(home / "im/01.jpg").mask)
    stamp = (out / "set/01.png").stat().st_mtime_ns
    (out / "set/02.png").unlink()
    predict_sets(runtime, standin, sets, out)  # goes on
    assert (out / "set/02.png").exists() and (out / "set/01.png").stat().st_mtime_ns == stamp
    predict_sets(runtime, standin, sets, out, overwrite=True)
    assert (out / "set/01.png").stat().st_mtime_ns > stamp


def test_another_model_or_size_needs_another_folder(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path, count=1)
    sets, out = find_sets([home], with_pictures=True), tmp_path / "out"
    predict_sets(select(standin), standin, sets, out)
    other = brightness_model(tmp_path / standin.name, bias=1.0)
    with pytest.raises(ConfigError, match=r"holds predictions of another model or size.\nhint: choose another -o"):
        predict_sets(select(other), other, sets, out)
    predict_sets(select(other), other, sets, out, overwrite=True)
    assert "sha256" in json.loads((out / MADE_BY).read_text())
    (out / MADE_BY).unlink()  # whose are these?
    with pytest.raises(ConfigError, match="holds predictions of another"):
        predict_sets(select(other), other, sets, out)


def test_native_size(tmp_path: Path) -> None:
    _, home = draw_set(tmp_path, count=1)
    any_size = brightness_model(tmp_path / "any.onnx", size=None)
    predict_sets(select(any_size), any_size, find_sets([home], with_pictures=True), tmp_path / "out", native=True)
    assert json.loads((tmp_path / "out" / MADE_BY).read_text())["size"] == "native"
    assert Image.open(tmp_path / "out/set/00.png").size == (60, 40)


def test_a_damaged_picture_stops_and_leaves_no_half_file(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path)
    (home / "im/01.jpg").write_bytes((home / "im/01.jpg").read_bytes()[:300])
    with pytest.raises(PictureError, match=r"01.jpg"):
        predict_sets(select(standin), standin, find_sets([home], with_pictures=True), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out/set").iterdir()] == ["00.png"]
