from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from birefnet.errors import ConfigError, WeightsError
from birefnet.training.config import Recipe, parse_recipe
from birefnet.training.trainer import Trainer, batches, rate
from birefnet.weights.checkpoint import load_model


@pytest.fixture
def recipe(recipe_values: dict[str, Any]) -> Recipe:
    return parse_recipe(recipe_values)


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {**trainer.network.state_dict(), **{f"average.{k}": v for k, v in trainer.average.items()}}


def test_a_broken_run_ends_bit_for_bit_like_an_unbroken_one(recipe: Recipe, tmp_path: Path) -> None:
    whole = Trainer(recipe, tmp_path / "whole")
    whole.run()
    Trainer(recipe, tmp_path / "broken").run(until=4)
    torch.manual_seed(99)  # another process would be anywhere
    again = Trainer(recipe, tmp_path / "broken")
    assert again.step == 4
    again.run()
    for name, value in _weights(whole).items():
        assert torch.equal(value, _weights(again)[name]), name


def test_workers_do_not_change_the_weights(recipe: Recipe, tmp_path: Path) -> None:
    alone = Trainer(recipe, tmp_path / "alone")
    alone.run(until=2)
    helped = Trainer(replace(recipe, training=replace(recipe.training, workers=2)), tmp_path / "helped")
    helped.run(until=2)
    for name, value in _weights(alone).items():
        assert torch.equal(value, _weights(helped)[name]), name


def test_training_lowers_the_loss_and_leaves_a_folder_to_use(recipe: Recipe, tmp_path: Path) -> None:
    longer = replace(recipe.training, phases=(replace(recipe.training.phases[0], steps=25),), lr=5e-3)
    trainer = Trainer(replace(recipe, training=replace(longer, save_every=25, validate_every=25)), tmp_path)
    losses: list[float] = []
    scores = trainer.run(lambda _step, _total, parts: losses.append(parts["loss"]))
    assert len(losses) == 25
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert scores["all"].count == 4 and 0 <= scores["all"].iou <= 1
    with (tmp_path / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12
    with (tmp_path / "validation.csv").open() as file:
        assert [row["set"] for row in csv.DictReader(file)] == ["discs", "all"]
    with safe_open(tmp_path / "tiny.safetensors", "pt") as file:
        assert file.metadata()["size"] == "[64, 64]"
    loaded = load_model(tmp_path / "tiny.safetensors")
    assert loaded.config == recipe.network
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, trainer.averaged().state_dict()[name])


def test_bf16_autocast_trains_on_the_cpu(recipe: Recipe, tmp_path: Path) -> None:
    deformable = replace(recipe.network, attention="aspp_deformable")
    half = replace(recipe, network=deformable, training=replace(recipe.training, precision="bf16"))
    trainer = Trainer(half, tmp_path)
    trainer.run(until=1)
    assert all(bool(value.isfinite().all()) for value in trainer.network.state_dict().values())


def test_the_checkpoint_of_another_network_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    Trainer(recipe, tmp_path).save()
    with pytest.raises(ConfigError, match="another network"):
        Trainer(replace(recipe, network=replace(recipe.network, context=0)), tmp_path)


def test_a_changed_schedule_goes_on_and_is_said(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Trainer(recipe, tmp_path).run(until=2)
    longer = replace(recipe.training, phases=(replace(recipe.training.phases[0], steps=7),))
    with caplog.at_level("WARNING"):
        again = Trainer(replace(recipe, training=longer), tmp_path)
    assert again.step == 2
    assert "another training than the run began with" in caplog.text


def test_ctrl_c_saves_what_was_done(recipe: Recipe, tmp_path: Path) -> None:
    def interrupt(step: int, _total: int, _parts: dict[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, tmp_path).run(interrupt)
    assert Trainer(recipe, tmp_path).step == 3


def test_a_gradient_that_is_not_finite_stops_the_run(recipe: Recipe, tmp_path: Path) -> None:
    trainer = Trainer(recipe, tmp_path)
    with torch.no_grad():
        trainer.network.decoder.head.weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        trainer.run()


def test_batches_number_the_samples_through_all_phases(recipe: Recipe) -> None:
    config = recipe.training
    whole = list(batches(config, 0))
    assert [number for batch in whole for number, _ in batch] == list(range(12))
    assert [batch[0][1] for batch in whole] == [64] * 4 + [96] * 2
    assert list(batches(config, 4)) == whole[4:]


def test_the_rate_rises_then_falls(recipe: Recipe) -> None:
    config = replace(recipe.training, warmup=2, final_lr=0.1)
    rates = [rate(config, step) for step in range(config.steps + 1)]
    assert rates[0] == pytest.approx(0.5) and rates[1] == rates[2] == pytest.approx(1.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[1:]))
    assert rates[-1] == pytest.approx(0.1)


def test_the_backbone_learns_slower_and_norms_do_not_decay(recipe: Recipe, tmp_path: Path) -> None:
    trainer = Trainer(replace(recipe, training=replace(recipe.training, lr=1e-3, backbone_lr=0.1)), tmp_path)
    rates = {group["height"] for group in trainer.optimiser.param_groups}
    assert rates == {1e-3, 1e-4}
    for group in trainer.optimiser.param_groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
