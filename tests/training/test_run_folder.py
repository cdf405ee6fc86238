from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from birefnet.errors import ConfigError, DataError
from birefnet.training.reading import load_recipe, parse_recipe
from birefnet.training.run_folder import RunFolder, Table


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_grows_and_widens(tmp_path: Path) -> None:
    table = Table(tmp_path / "log.csv")
    table.append({"step": 1, "loss": 0.123456789, "note": 'a, "b"'})
    table.append({"step": 2, "loss": None})
    table.append({"step": 3, "mse": 2.0})
    Table(tmp_path / "log.csv").append({"step": 4, "loss": 4.0})
    assert _rows(tmp_path / "log.csv") == [
        {"step": "1", "loss": "0.1234568", "note": 'a, "b"', "mse": ""},
        {"step": "2", "loss": "", "note": "", "mse": ""},
        {"step": "3", "loss": "", "note": "", "mse": "2"},
        {"step": "4", "loss": "4", "note": "", "mse": ""},
    ]


def test_rows_after_a_step_are_forgotten(tmp_path: Path) -> None:
    table = Table(tmp_path / "log.csv")
    for step in range(1, 6):
        table.append({"step": step, "loss": step / 2})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("broken")  # what a kill in the middle of a line leaves
    Table(tmp_path / "log.csv").forget_after(3)
    assert [row["step"] for row in _rows(tmp_path / "log.csv")] == ["1", "2", "3"]
    Table(tmp_path / "none.csv").forget_after(3)
    assert not (tmp_path / "none.csv").exists()


def test_the_recipe_can_be_read_again_and_every_call_is_noted(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_values)
    for step in (0, 4):
        folder = RunFolder(tmp_path / "run")
        folder.open(recipe, step, {"device": "cpu", "processes": 2})
        folder.report(step + 1, {"loss": 1.5}, {"epoch": 1, "lr": 1e-3})
        folder.close()
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    calls = json.loads((tmp_path / "run" / "about.json").read_text())["calls"]
    assert [call["from_step"] for call in calls] == [0, 4]
    assert set(calls[0]) == {
        *("from_step", "began", "birefnet", "torch", "python", "commit", "command", "device", "processes"),
    }
    assert [row["step"] for row in _rows(tmp_path / "run" / "log.csv")] == ["1", "5"]
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 2


def test_tensorboard_shows_what_was_reported(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(tmp_path / "run")
    folder.open(parse_recipe(recipe_values), 0, {})
    for step in (1, 2):
        folder.report(step, {"loss": step / 2}, {"lr": 1e-3})
    folder.close()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"training/loss", "training/lr"}
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == [(1, 0.5), (2, 1.0)]


def test_a_folder_that_cannot_be_written_to(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written to"):
        RunFolder(tmp_path / "file").open(parse_recipe(recipe_values), 0, {})


def test_a_run_of_an_earlier_version_is_refused(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_text("")
    with pytest.raises(ConfigError, match=r"earlier version.*start\.weights"):
        RunFolder(tmp_path).read(parse_recipe(recipe_values))


def test_the_recipe_is_plain_yaml(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open(parse_recipe({**recipe_values, "name": "größe"}), 0, {})
    folder.close()
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ") and "größe" in text
    assert yaml.safe_load(text)["training"]["validate_every"] == 3
