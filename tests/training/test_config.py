from dataclasses import replace
from typing import Any

import pytest

from birefnet.errors import ConfigError
from birefnet.training.config import (
    CheckpointConfig,
    DynamicSize,
    FinetuneConfig,
    Interval,
    LoraConfig,
    Phase,
    StartConfig,
    TrainingConfig,
    ValidationConfig,
)
from birefnet.training.reading import parse_recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", Interval(500)),
        ("1 epoch", Interval(1, "epochs")),
        (" 5 epochs", Interval(5, "epochs")),
        ("2 steps", Interval(2)),
    ],
)
def test_an_interval_is_read_and_written(text: str, expected: Interval) -> None:
    assert Interval.from_text(text) == expected
    assert Interval.from_text(str(expected)) == expected


@pytest.mark.parametrize("text", ["0", "-3", "1.5 epochs", "epoch", "3 weeks", "", "0 epochs"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no interval"):
        Interval.from_text(text)


def test_a_phase_knows_width_and_height() -> None:
    assert Phase(steps=1, batch=1, size=64).shape == (64, 64)
    assert Phase(epochs=1, batch=1, size=(2560, 1440)).shape == (2560, 1440)


@pytest.mark.parametrize(
    ("record", "values", "message"),
    [
        (Phase, {"size": 64, "batch": 1}, "exactly one"),
        (Phase, {"size": 64, "batch": 1, "steps": 1, "epochs": 1}, "exactly one"),
        (Phase, {"size": 64, "batch": 1, "steps": 0}, "above 0"),
        (Phase, {"size": 64, "batch": 0, "epochs": 1}, "batch"),
        (Phase, {"size": (64, 100), "batch": 1, "epochs": 1}, "is 100; it must be a multiple of 32"),
        (Phase, {"size": 64, "batch": 1, "epochs": 1, "sizes": (64, 70)}, "70"),
        (Phase, {"size": 64, "batch": 1, "epochs": 1, "sizes": ()}, "at least one"),
        (Phase, {"size": 64, "batch": 1, "epochs": 1, "sizes": (64,), "dynamic": DynamicSize()}, "exclude"),
        (DynamicSize, {"smallest": 512, "largest": 256}, "above"),
        (DynamicSize, {"step": 16}, "multiple of 32"),
        (LoraConfig, {"rank": 0}, "rank"),
        (LoraConfig, {"dropout": 1.0}, "below 1"),
        (StartConfig, {}, "either"),
        (StartConfig, {"backbone": "a", "weights": "b"}, "either"),
        (ValidationConfig, {"root": "a", "sets": ()}, "at least one"),
        (ValidationConfig, {"root": "a", "size": 500}, "multiple of 32"),
        (ValidationConfig, {"root": "a", "limit": 0}, "above 0"),
        (FinetuneConfig, {"last": Interval(3), "factors": {}}, "epochs"),
    ],
)
def test_a_record_is_checked_at_birth(record: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        record(**values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phases": ()}, "at least one phase"),
        ({"lr": 0.0}, "above 0"),
        ({"lr": float("nan")}, "above 0"),
        ({"lr_batch": 0}, "lr_batch"),
        ({"micro_batch": 0}, "micro_batch"),
        ({"weight_decay": -1.0}, "0 or more"),
        ({"final_lr": 2.0}, "between 0 and 1"),
        ({"ema": 1.0}, "below 1"),
        ({"dropout": -0.1}, "at least 0"),
        ({"decay": "some"}, "matrices or all"),
        ({"schedule": "linear"}, "cosine or constant"),
        ({"precision": "fp8"}, "bf16, fp16 or fp32"),
        ({"batch_norm": "sync"}, "batch, synchronised or frozen"),
        ({"activation_checkpointing": "some"}, "none, backbone or all"),
        ({"freeze": "half"}, "auto, none or all"),
        ({"freeze": -1}, "0 or more"),
    ],
)
def test_training_is_checked_at_birth(change: dict[str, Any], message: str) -> None:
    good = TrainingConfig(phases=(Phase(steps=1, size=64, batch=1),), freeze=2, dropout=0.0, ema=0.0, clip=0.0)
    with pytest.raises(ConfigError, match=message):
        replace(good, **change)


def test_a_recipe_survives_as_plain_values(recipe_values: dict[str, Any]) -> None:
    recipe_values["start"] = "backbone.safetensors"
    recipe_values["checkpoints"] = {"last": "50 epochs", "every": 200}
    recipe = parse_recipe(recipe_values)
    values = recipe.to_dict()
    assert values["network"]["backbone"] == "mobilenet_v2"
    assert values["training"]["phases"][0]["batch"] == 2
    assert values["training"]["save_every"] == 2
    assert values["data"]["pairs"]["discs"]["weight"] == 1
    assert values["checkpoints"] == {"last": "50 epochs", "every": 200, "best": "IoU"}
    assert recipe.checkpoints == CheckpointConfig(last=Interval(50, "epochs"), every=Interval(200))
    assert recipe.start == StartConfig(backbone="backbone.safetensors")
    assert parse_recipe(values) == recipe


def test_a_network_is_needed_unless_whole_weights_bring_it(recipe_values: dict[str, Any]) -> None:
    del recipe_values["network"]
    fresh = parse_recipe(recipe_values)
    assert fresh.network is not None and fresh.network.backbone == "swin_v1_l"
    tuned = parse_recipe({**recipe_values, "start": {"weights": "nano"}})
    assert tuned.network is None
    with pytest.raises(ConfigError, match="`network` is missing"):
        replace(tuned, start=None)
    with pytest.raises(ConfigError, match="no slashes"):
        replace(tuned, name="a/b")
