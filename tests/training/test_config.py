from pathlib import Path
from typing import Any

import pytest
import yaml

from birefnet.errors import ConfigError
from birefnet.training.config import load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_can_be_read(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.training.steps > 0


def test_the_shipped_model_never_sees_what_may_not_be_shipped() -> None:
    data = load_recipe(Path(__file__).parents[2] / "recipes" / "nano.yaml").data
    folders = {source.folder for source in (*data.pairs, *data.cutouts, *data.backgrounds)}
    assert not any(folder.startswith("eval") for folder in folders)
    assert not folders & {"train/oxford_pets", "bg/solus", "bg/ubuntu_mate_photos"}
    coco = next(source for source in data.pairs if source.folder == "train/coco_cc")
    assert coco.only is not None


def test_overrides_reach_any_key(tmp_path: Path, recipe_values: dict[str, Any]) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe_values))
    recipe = load_recipe(path, {"training.lr": "2e-5", "losses.mae": "3", "network.context": "0", "start": "null"})
    assert recipe.training.lr == pytest.approx(2e-5)
    assert recipe.losses.mae == 3
    assert recipe.network.context == 0
    assert recipe.start is None
    assert recipe.training.phases[1].size == 96


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training.learning_rate": "1"}, "learning_rate"),
        ({"training.warmpu": "1"}, "did you mean `training.warmup`"),
        ({"netwrok": "{}"}, "did you mean `network`"),
        ({"losses.bce": "-1"}, "negative"),
        ({"training.phases": "[]"}, "at least one phase"),
        ({"training.phases": "[{steps: 1, size: 100, batch: 1}]"}, "multiple of 32"),
        ({"training.precision": "fp8"}, "bf16 or fp32"),
        ({"training.lr": "0"}, "above 0"),
        ({"network.attention": "self"}, "attention"),
        ({"data": "null"}, "data.root|root"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, recipe_values: dict[str, Any], change: dict[str, str], message: str
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe_values))
    with pytest.raises(ConfigError, match=message):
        load_recipe(path, change)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,")
    with pytest.raises(ConfigError, match="no YAML"):
        load_recipe(tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match="holds no keys"):
        (tmp_path / "bad.yaml").write_text("")
        load_recipe(tmp_path / "bad.yaml")


def test_a_recipe_survives_as_plain_values(recipe_values: dict[str, Any]) -> None:
    values = parse_recipe(recipe_values).to_dict()
    assert values["network"]["backbone"] == "mobilenet_v2"
    assert values["training"]["phases"][0]["batch"] == 2
    assert values["data"]["pairs"][0]["folder"] == "discs"
