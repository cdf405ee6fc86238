"""`birefnet.evaluate`: a model, a remover or a folder of predictions, judged in one call."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import birefnet
from birefnet.errors import ConfigError, DataError, UnknownModel
from tests.evaluation.drawn import draw_set


def test_a_folder_of_predictions_and_a_model_are_judged_alike(tmp_path: Path, standin: Path) -> None:
    predictions, home = draw_set(tmp_path)
    steps: list[tuple[str, int, int]] = []
    found = birefnet.evaluate(predictions, home, metrics=["S", "MAE"])
    assert isinstance(found, birefnet.Evaluation) and set(found.mean) == {"S", "MAE"}
    made = birefnet.evaluate(
        standin, [home], metrics="S,MAE", keep=tmp_path / "kept", progress=lambda *step: steps.append(step)
    )
    assert steps == [(what, done, 3) for what in ("predicting", "judging") for done in (1, 2, 3)]
    again = birefnet.evaluate(tmp_path / "kept", home, metrics="S,MAE")
    assert again.mean == made.mean
    assert birefnet.evaluate(str(standin), str(home), metrics="S,MAE", workers=2).mean == made.mean


def test_a_remover_is_judged_as_it_is_set(tmp_path: Path, standin: Path) -> None:
    _, home = draw_set(tmp_path)
    remover = birefnet.Remover(standin, sharpen=True)
    birefnet.evaluate(remover, home, metrics="MAE", keep=tmp_path / "kept")
    from PIL import Image

    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "kept/set/00.png")), remover(home / "im/00.jpg").mask
    )
    with pytest.raises(ConfigError, match="has its size and options already"):
        birefnet.evaluate(remover, home, metrics="MAE", size=64)


def test_nothing_is_left_where_nothing_is_kept(tmp_path: Path, standin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, home = draw_set(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    birefnet.evaluate(standin, home, metrics="MAE")
    assert not list((tmp_path / "temporary").iterdir())


def test_what_cannot_be_judged_is_said(tmp_path: Path, standin: Path) -> None:
    predictions, home = draw_set(tmp_path)
    with pytest.raises(UnknownModel):
        birefnet.evaluate("nanno", home)
    with pytest.raises(ConfigError, match="no metric `Mae2`") as caught:
        birefnet.evaluate(predictions, home, metrics="Mae2")
    assert caught.value.hint == "did you mean `MAE`?"
    with pytest.raises(ConfigError, match="There is no task `dis6k`"):
        birefnet.evaluate(predictions, home, task="dis6k")
    (home / "im/00.jpg").unlink()
    with pytest.raises(DataError, match="1 truth has no picture: `set/00`"):
        birefnet.evaluate(standin, home, metrics="MAE")


def test_its_signature_is_real() -> None:
    kinds = {parameter.kind for parameter in inspect.signature(birefnet.evaluate).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
