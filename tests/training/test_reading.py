"""Recipes from YAML: overrides, and every mistake as one sentence that names the key."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from birefnet.errors import ConfigError
from birefnet.training.config import Interval
from birefnet.training.reading import load_recipe, make, parse_recipe


@pytest.fixture
def path(tmp_path: Path, recipe_values: dict[str, Any]) -> Path:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe_values))
    return tmp_path / "tiny.yaml"


def test_overrides_reach_any_key(path: Path) -> None:
    changes = {
        "training.lr": "2e-5",
        "training.phases.1.size": "[128, 96]",
        "training.phases.0.dynamic.largest": "512",
        "training.save_every": "1 epoch",
        "training.clip": "3",
        "losses.mae": "3",
        "network.context": "0",
        "start": "null",
        "finetune": "{last: 2 epochs, factors: {bce: 0}}",
        "validation.sets": "one + two",
        "data.pairs.more/discs": "0.5",
    }
    recipe = load_recipe(path, changes)
    assert recipe.training.lr == pytest.approx(2e-5)
    assert recipe.training.phases[0].size == 64 and recipe.training.phases[1].shape == (128, 96)
    assert recipe.training.phases[0].dynamic is not None and recipe.training.phases[0].dynamic.largest == 512
    assert recipe.training.save_every == Interval(1, "epochs")
    assert recipe.training.clip == 3 and isinstance(recipe.training.clip, float)
    assert recipe.losses.mae == 3
    assert recipe.network is not None and recipe.network.context == 0
    assert recipe.start is None
    assert recipe.finetune is not None and recipe.finetune.factors == {"bce": 0.0}
    assert recipe.validation is not None and recipe.validation.sets == ("one", "two")
    assert [(source.folder, source.weight) for source in recipe.data.pairs] == [("discs", 1), ("more/discs", 0.5)]


def test_an_override_makes_the_sections_it_needs(path: Path) -> None:
    recipe = load_recipe(path, {"validation": "null", "start": "null"})
    assert recipe.validation is None
    filled = load_recipe(path, {"validation": "null", "validation.limit": "3", "start.weights": "nano"})
    assert filled.validation is not None and filled.validation.limit == 3
    assert filled.validation.root == filled.data.root  # what lies beside the training pictures is not said twice
    assert filled.start is not None and filled.start.weights == "nano"


def test_stems_may_look_like_numbers(recipe_values: dict[str, Any]) -> None:
    recipe_values["data"]["pairs"] = {"discs": {"weight": 1, "only": [1, "002"]}}
    assert parse_recipe(recipe_values).data.pairs[0].only == ("1", "002")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training.learning_rate": "1"}, "Unknown key `training.learning_rate`"),
        ({"training.warmpu": "1"}, "did you mean `training.warmup`"),
        ({"netwrok": "{}"}, "did you mean `network`"),
        ({"network.backbon": "1"}, "did you mean `network.backbone`"),
        ({"data.augment.rotat": "1"}, "did you mean `data.augment.rotate`"),
        ({"data.pairs.discs": "{wieght: 1}"}, "did you mean `data.pairs.discs.weight`"),
        ({"training.phases.0.stesp": "1"}, "did you mean `training.phases.0.steps`"),
        ({"training.phases.0.dynamic.larges": "64"}, "did you mean `training.phases.0.dynamic.largest`"),
        ({"training.lora.rnak": "4"}, "did you mean `training.lora.rank`"),
        ({"validation.set": "[a]"}, "did you mean `validation.sets`"),
        ({"start.weigths": "a"}, "did you mean `start.weights`"),
        ({"checkpoints.bets": "a"}, "did you mean `checkpoints.best`"),
        ({"finetune": "{last: 1 epoch, factors: {ioo: 1}}"}, "did you mean `finetune.factors.iou`"),
        ({"losses.bce": "-1"}, "negative"),
        ({"training.phases": "[]"}, "at least one phase"),
        ({"training.phases": "[{steps: 1, batch: 1}]"}, "`training.phases.0.size` is missing"),
        ({"training.phases": "[{steps: 1, size: 100, batch: 1}]"}, "multiple of 32"),
        ({"training.phases.0.size": "[64]"}, "a whole number or a list of 2"),
        ({"training.phases.2.size": "64"}, "none of the list's entries 0 to 1"),
        ({"training.precision": "fp8"}, "one of bf16, fp16, fp32"),
        ({"training.lr": "fast"}, "`training.lr` is 'fast'; it must be a number"),
        ({"training.lr": ".nan"}, "must be a number"),
        ({"training.warmup": "2.5"}, "must be a whole number"),
        ({"training.compile": "1"}, "true or false"),
        ({"training.freeze": "some"}, "a whole number or one of auto, none, all"),
        ({"training.save_every": "3 weeks"}, "`training.save_every`: `3 weeks` is no interval"),
        ({"name": "3"}, "put it in quotes"),
        ({"network.attention": "self"}, "attention"),
        ({"data": "null"}, "`data.root` is missing"),
        ({"data.pairs": "discs"}, "folders with their weights"),
        ({"name.first": "a"}, "not keys"),
        ({"training.lr": "[1"}, "no YAML"),
    ],
)
def test_mistakes_are_named(path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, change)
    assert re.search(message, f"{caught.value}; {caught.value.hint}")


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in nested values."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield values, key
        if isinstance(value, dict | list):
            yield from _places(value)


def test_no_wrong_type_is_more_than_one_sentence(recipe_values: dict[str, Any]) -> None:
    """Everything by nonsense of every type: it is taken or refused, never a traceback of another kind."""
    recipe_values |= {
        "finetune": {"last": "2 epochs", "factors": {"bce": 0.0}},
        "start": {"weights": "nano"},
        "checkpoints": {"last": "2 epochs", "every": "1 epoch"},
    }
    recipe_values["training"] |= {"lora": {"rank": 2}, "freeze": 1, "dropout": 0.1}
    recipe_values["training"]["phases"][0] |= {"dynamic": {"largest": 512}}
    full = parse_recipe(recipe_values).to_dict()
    refused = 0
    for index in range(len(list(_places(full)))):
        for nonsense in (None, "x", "", -1, 3, 0.5, True, [], ["x"], [64, None], {}, {"x": 1}, {1: 2}):
            values = copy.deepcopy(full)
            place, key = list(_places(values))[index]
            place[key] = nonsense
            try:
                assert parse_recipe(values).name
            except ConfigError as error:
                refused += 1
                assert len(str(error)) < 600
    assert refused > 800


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    for content, message in (
        (b"a: [1,", "no YAML"),
        (b"", "holds no keys"),
        (b"\xff\xfe\x00", "it is no text"),
        (b"name: a\ndata: {root: a,\n  root: b}", "`root` stands twice in what begins at line 2"),
    ):
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            load_recipe(bad)


@dataclass(frozen=True, kw_only=True)
class _Inner:
    depth: int | tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class _Outer:
    inner: _Inner
    many: tuple[_Inner, ...] = ()
    named: dict[str, float] | None = None


def test_records_are_made_from_their_types() -> None:
    made = make(_Outer, {"inner": {"depth": 2.0}, "many": [{"depth": [1, 2]}], "named": {"a": 1}})
    assert made == _Outer(inner=_Inner(depth=2), many=(_Inner(depth=(1, 2)),), named={"a": 1.0})
    with pytest.raises(ConfigError, match=r"`many\.0\.depth` is 'x'; it must be a whole number or a list of 2"):
        make(_Outer, {"inner": {"depth": 2}, "many": [{"depth": "x"}]})
    with pytest.raises(ConfigError, match=r"`inner\.depth` is missing"):
        make(_Outer, {"inner": None})


def test_a_name_finds_the_recipe_that_came_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("dis5k")).name == "dis5k"
    with pytest.raises(ConfigError, match="no recipe `dis5`") as caught:
        load_recipe(Path("dis5"))
    assert caught.value.hint == "did you mean `dis5k`?"
    # A file of that name that is here comes first; a path is never looked up by name.
    Path("dis5k").write_text("name: mine\n")
    with pytest.raises(ConfigError, match="is missing"):
        load_recipe(Path("dis5k"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(Path("dis5k.yaml"))
