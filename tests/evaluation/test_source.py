"""What a word may mean: predictions, weights, a run's folder, a model's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet.errors import UnknownModel, WeightsError
from birefnet.evaluation.files import TruthSet, find_sets
from birefnet.evaluation.source import Source, find_source, find_sources
from birefnet.weights.resolve import resolve
from tests.evaluation.drawn import draw_set


@pytest.fixture
def sets(tmp_path: Path) -> list[TruthSet]:
    draw_set(tmp_path)
    return find_sets([tmp_path / "set"])


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_predictions(tmp_path: Path, sets: list[TruthSet]) -> None:
    above, folder = tmp_path / "predictions", tmp_path / "predictions/set"
    assert find_source(str(folder), sets) == Source("set", predictions=folder)
    assert find_source(str(above), sets) == Source(f"{tmp_path.name}/predictions", predictions=above)


def test_weights_and_names(tmp_path: Path, sets: list[TruthSet]) -> None:
    touch(tmp_path / "cats/net.safetensors", tmp_path / "dogs/best.safetensors")
    for path, label in (("cats/net.safetensors", "net"), ("dogs/best.safetensors", "dogs/best")):
        found = find_source(str(tmp_path / path), sets)
        assert found == Source(label, model=resolve(str(tmp_path / path))) and found.where == str(tmp_path / path)
    for name in ("nano", "general", "someone/something"):
        assert find_source(name, sets) == Source(name, model=resolve(name))


def test_a_run_has_its_best_weights_and_all_its_checkpoints(tmp_path: Path, sets: list[TruthSet]) -> None:
    run = tmp_path / "run"
    names = ["last", "checkpoints/epoch_9", "checkpoints/epoch_10"]
    touch(*(run / f"{name}.safetensors" for name in names), run / "last.pt", run / "state/last.pt", run / "log.csv")
    found = find_source(str(run), sets)
    assert (found.label, found.where) == ("run/last", str(run / "last.safetensors"))
    touch(run / "best.safetensors")
    assert find_source(str(run), sets).label == "run/best"
    labels = [source.label for source in find_sources(str(run), sets)]
    assert labels == ["run/best", "run/epoch_9", "run/epoch_10", "run/last"]


def test_a_folder_with_one_file_of_weights(tmp_path: Path, sets: list[TruthSet]) -> None:
    touch(tmp_path / "one/nano.safetensors")
    assert find_source(str(tmp_path / "one"), sets).label == "one/nano"
    touch(tmp_path / "one/other.safetensors")
    with pytest.raises(WeightsError, match=r"it has several: nano\.safetensors, other\.safetensors"):
        find_source(str(tmp_path / "one"), sets)


def test_what_means_nothing(tmp_path: Path, sets: list[TruthSet]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"holds no pictures, no sub-folder of predictions for `set`\..*it has none"):
        find_source(str(tmp_path / "empty"), sets)
    touch(tmp_path / "notes.txt")
    with pytest.raises(WeightsError, match="is no weights file"):
        find_source(str(tmp_path / "notes.txt"), sets)
    with pytest.raises(UnknownModel, match="No model named `genral`") as caught:
        find_source("genral", sets)
    assert caught.value.hint == "did you mean `general`?"
    with pytest.raises(WeightsError, match=r"holds no pictures\. Wanted"):
        find_source(str(tmp_path / "empty"), [])
