"""What a word may mean: predictions, weights, a run's folder, a model's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from birefnet.errors import ConfigError, UnknownModel
from birefnet.evaluation.files import TruthSet, find_sets
from birefnet.evaluation.source import Source, find_source, find_sources
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
        assert find_source(str(tmp_path / path), sets) == Source(label, model=tmp_path / path)
    for name in ("nano", "general", "someone/something"):
        assert find_source(name, sets) == Source(name, model=name)


def test_a_run_has_its_best_weights_and_all_its_checkpoints(tmp_path: Path, sets: list[TruthSet]) -> None:
    run = tmp_path / "run"
    names = ["last", "checkpoints/epoch_9", "checkpoints/epoch_10"]
    touch(*(run / f"{name}.safetensors" for name in names), run / "last.pt", run / "state/last.pt", run / "log.csv")
    assert find_source(str(run), sets) == Source("run/last", model=run / "last.safetensors")
    touch(run / "best.safetensors")
    assert find_source(str(run), sets).label == "run/best"
    labels = [source.label for source in find_sources(str(run), sets)]
    assert labels == ["run/best", "run/epoch_9", "run/epoch_10", "run/last"]


def test_a_folder_with_one_file_of_weights(tmp_path: Path, sets: list[TruthSet]) -> None:
    touch(tmp_path / "one/nano.safetensors")
    assert find_source(str(tmp_path / "one"), sets).label == "nano"
    touch(tmp_path / "one/other.safetensors")
    with pytest.raises(ConfigError, match=r"holds several weights: `one/nano`, `one/other`.\nhint: name one, or"):
        find_source(str(tmp_path / "one"), sets)


def test_what_means_nothing(tmp_path: Path, sets: list[TruthSet]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no pictures, no sub-folder of predictions for `set`, and no weights"):
        find_source(str(tmp_path / "empty"), sets)
    touch(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="is no weights file"):
        find_source(str(tmp_path / "notes.txt"), sets)
    with pytest.raises(UnknownModel, match=r"There is no folder or file `genral`(.|\n)*did you mean `general`"):
        find_source("genral", sets)
