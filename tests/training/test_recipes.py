"""Every recipe of the project: it loads, its numbers are the published ones, its network can be built; and the book."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import pytest
import torch
import yaml

from birefnet.data.config import Source
from birefnet.network import BiRefNet
from birefnet.training.config import Interval, Recipe, StartConfig
from birefnet.training.losses import LossWeights
from birefnet.training.plan import Plan
from birefnet.training.reading import load_recipe, parse_recipe, read_yaml
from birefnet.training.schedule import weights_at
from birefnet.weights import zoo

ROOT = Path(__file__).parents[2]
RECIPES = {path.stem: path for path in sorted((ROOT / "recipes").glob("*.yaml"))}


class Published(NamedTuple):
    """A row of the published tables."""

    task: str
    epochs: int
    keep: tuple[int, int]  # of the last so many epochs, every so many
    size: tuple[int, int]
    lr: float
    losses: LossWeights
    end: tuple[int, dict[str, float]]
    tests: str


END = {"bce": 0.0, "iou": 0.5, "mae": 0.9}
HARD, GENERAL, MATTE = LossWeights(mae=0), LossWeights(), LossWeights(iou=0)
SQUARE = (1024, 1024)
DIS_TESTS = "DIS-VD DIS-TE1 DIS-TE2 DIS-TE3 DIS-TE4"
PUBLISHED = {
    "dis5k": Published("DIS5K", 500, (50, 5), SQUARE, 1e-4, HARD, (40, END), DIS_TESTS),
    "cod": Published("COD", 150, (50, 5), SQUARE, 1e-5, HARD, (20, END), "CHAMELEON NC4K TE-CAMO TE-COD10K"),
    "hrsod": Published(
        "HRSOD", 150, (50, 5), SQUARE, 1e-5, HARD, (20, END), "DAVIS-S TE-HRSOD TE-UHRSD DUT-OMRON TE-DUTS"
    ),
    "general": Published("General", 200, (50, 5), SQUARE, 1e-5, GENERAL, (20, END), "DIS-VD TE-P3M-500-NP"),
    "general_2k": Published("General-2K", 250, (30, 2), (2560, 1440), 1e-5, GENERAL, (20, END), "DIS-VD TE-P3M-500-NP"),
    "matting": Published(
        "Matting", 150, (50, 5), SQUARE, 1e-5, MATTE, (10, {"mse": 0.9, "ssim": 0.9}), "TE-P3M-500-NP TE-AM-2k"
    ),
}


@pytest.mark.parametrize(("name", "row"), PUBLISHED.items(), ids=PUBLISHED)
def test_the_published_numbers_are_in_the_recipe(name: str, row: Published) -> None:
    recipe = load_recipe(RECIPES[name])
    training, augment = recipe.training, recipe.data.augment
    assert recipe.name == name and recipe.seed == 7 and recipe.data.task == row.task
    (phase,) = training.phases
    assert (phase.epochs, phase.shape) == (row.epochs, row.size)
    assert (training.lr, training.lr_batch, training.weight_decay) == (row.lr, 4, 1e-2)
    assert (training.schedule, training.warmup, training.clip, training.ema) == ("constant", 0, 0, 0)
    assert (training.decay, training.precision, training.compile) == ("all", "bf16", True)
    assert recipe.losses == row.losses
    assert recipe.finetune is not None and recipe.finetune.mode == "compounding"
    assert (recipe.finetune.last.count, recipe.finetune.factors) == row.end
    keep = recipe.checkpoints
    assert keep.last is not None and (keep.last.unit, keep.every.unit) == ("epochs", "epochs")
    assert (keep.last.count, keep.every.count) == row.keep
    assert recipe.validation is not None and keep.best in recipe.validation.metrics
    assert " ".join(recipe.validation.sets) == row.tests
    assert (recipe.validation.root, recipe.validation.task) == (recipe.data.root, row.task)
    assert recipe.data.order == "epochs" and augment.style == "reference"
    assert (augment.flip, augment.rotate, augment.degrees, augment.pepper) == (0.5, 0.2, 15, 0.0015)
    assert (augment.brightness, augment.contrast) == ((0.5, 1.5), (0.5, 1.5))
    assert (augment.colour, augment.sharpness) == ((0, 2), (0, 3))
    assert not set(recipe.validation.sets) & set(re.split(r"\s*\+\s*", recipe.data.sets or ""))


def test_all_recipes_are_looked_at() -> None:
    assert RECIPES.keys() == PUBLISHED.keys() | {"nano", "finetune", "finetune_nano"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_a_network_a_plan_and_weights_for_every_epoch(name: str) -> None:
    recipe = load_recipe(RECIPES[name])
    assert recipe.name == name
    if recipe.network is None:
        assert recipe.start is not None and recipe.start.weights is not None
        assert zoo.find(recipe.start.weights).name == recipe.start.weights
    else:
        with torch.device("meta"):
            network = BiRefNet(recipe.network)
        assert sum(parameter.numel() for parameter in network.parameters()) > 1e6
    plan = Plan(recipe.training, seed=recipe.seed, epoch_length=1000)
    first, last = plan.at(0), plan.at(plan.steps - 1)
    assert first.size == recipe.training.phases[0].shape and 0 < last.lr <= 1
    weights = [weights_at(recipe.losses, recipe.finetune, step.epoch, plan.epochs) for step in (first, last)]
    assert weights[0] == recipe.losses
    assert (weights[1] == recipe.losses) == (recipe.finetune is None)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_as_plain_values(name: str) -> None:
    recipe = load_recipe(RECIPES[name])
    written = yaml.safe_dump(recipe.to_dict(), sort_keys=False)  # the order of sources decides what is drawn
    assert parse_recipe(yaml.safe_load(written)) == recipe


def test_the_rate_follows_the_batch() -> None:
    recipe = load_recipe(RECIPES["dis5k"], {"training.phases.0.batch": "16"})
    assert Plan(recipe.training, seed=7, epoch_length=3000).at(0).lr == pytest.approx(2)


def test_dynamic_size_is_one_key_away() -> None:
    recipe = load_recipe(RECIPES["general"], {"training.phases.0.dynamic": "{}"})
    plan = Plan(recipe.training, seed=recipe.seed, epoch_length=100)
    sides = {side for number in range(200) for side in plan.at(number).size}
    assert min(sides) >= 256 and max(sides) <= 2304 and all(side % 32 == 0 for side in sides) and len(sides) > 30
    assert "# dynamic: {smallest: 256, largest: 2304, step: 32}" in RECIPES["general"].read_text()


@pytest.mark.parametrize("name", ["finetune", "finetune_nano"])
def test_fine_tuning_needs_nothing_but_a_folder(name: str) -> None:
    recipe = load_recipe(RECIPES[name], {"data.root": "mine"})
    assert recipe.validation is not None and recipe.validation.root == "mine"
    assert recipe.data.sets == "." and recipe.training.batch_norm == "frozen"
    other = load_recipe(RECIPES[name], {"data.root": "mine", "validation.root": "held_out", "start.weights": "lite"})
    assert other.validation is not None and other.validation.root == "held_out"
    assert other.start == StartConfig(weights="lite")


def test_the_shipped_model_never_sees_what_may_not_be_shipped() -> None:
    data = load_recipe(RECIPES["nano"]).data
    folders = {source.folder for source in (*data.pairs, *data.cutouts, *data.backgrounds)}
    assert not any(folder.startswith("eval") for folder in folders)
    assert not folders & {"train/oxford_pets", "bg/solus", "bg/ubuntu_mate_photos"}
    coco = next(source for source in data.pairs if source.folder == "train/coco_cc")
    assert coco.only is not None


def _keys(record: type[Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key below `record` with its default; lists count as N, folders as FOLDER."""
    hints = get_type_hints(record)
    for entry in fields(record):
        key, kind = f"{prefix}{entry.name}", hints[entry.name]
        kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        inner = [one for one in (*kinds, *get_args(kinds[0])) if is_dataclass(one)]
        if inner and entry.name not in ("last", "every") and not entry.name.endswith("_every"):
            repeated = {Source: ".FOLDER"}.get(inner[0], ".N") if get_origin(kinds[0]) is tuple else ""
            yield from _keys(inner[0], f"{key}{repeated}.")
        elif entry.default_factory is not MISSING:
            yield key, entry.default_factory()
        else:
            yield key, "required" if entry.default is MISSING else entry.default


def test_the_book_has_every_key_with_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+) \|$", (ROOT / "docs" / "recipes.md").read_text(), re.MULTILINE)
    written = {key: default for key, default, meaning in rows if meaning.strip() and not key.endswith("yaml")}
    keys = dict(_keys(Recipe))
    keys = {key: value for key, value in keys.items() if not re.search(r"FOLDER\.folder|(cutouts|backgrounds)\.", key)}
    assert written.keys() == keys.keys()
    keys["validation.root"] = "that of `data`"
    for key, value in keys.items():
        if isinstance(value, Interval):
            value = value.count if value.unit == "steps" else str(value)
        plain = list(value) if isinstance(value, tuple) else value
        assert written[key] == plain or read_yaml(written[key]) == plain, key


def test_the_book_names_every_recipe() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert all(f"| `{path.name}` |" in text for path in RECIPES.values())
