from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from birefnet.errors import ConfigError
from birefnet.training import measuring
from birefnet.training.estimate import duration
from birefnet.training.measuring import LiveBytes, estimate, mean_pixels, size_in_words
from birefnet.training.reading import parse_recipe
from birefnet.training.settings import DynamicSize, Phase
from birefnet.training.trainer import Trainer


def test_live_bytes_by_hand() -> None:
    there = torch.zeros(1000)
    with LiveBytes([there]) as live:
        a = there + 1  # 4000 bytes
        b = a.view(10, 100) + 1  # 4000 more; the view is none
        assert live.now == 8000
        del a
        assert live.now == 4000
        there += b.flatten()
        c = torch.cat([b, b])  # 8000 more
        assert (live.now, live.peak) == (12000, 12000)
        del b, c
    assert (live.now, live.peak) == (0, 12000)


def test_the_backward_pass_is_seen_too() -> None:
    weight = torch.zeros(100, 100, requires_grad=True)
    with LiveBytes([weight]) as live:
        kept = (weight @ weight).relu()
        kept.sum().backward()
    assert live.peak >= 3 * 40000  # the product, its relu, gradients on the way


def test_an_estimate_adds_up(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_values)
    recipe = replace(recipe, training=replace(recipe.training, workers=2, freeze="all"))
    trainer = Trainer(recipe, tmp_path / "run", "cpu")
    values = {name: sum(p.numel() for p in part.parameters()) for name, part in trainer.network.named_children()}
    found = estimate(trainer, processes=1)
    parts = {part.name: part for part in found.parts}
    backbone = sum(p.numel() for p in trainer.network.encoder.backbone.parameters())
    assert parts["backbone"].values == backbone and parts["backbone"].learning == 0
    assert parts["encoder"].values == values["encoder"] - backbone
    assert parts["network"].values == sum(values.values())
    learning = parts["network"].learning
    assert found.memory.gradients == 4 * learning and found.memory.optimiser == 8 * learning
    assert found.memory.weights > 4 * parts["network"].values and found.memory.exchange == 0
    assert found.memory.activations > 3 * 4 * 96 * 96 * 2 and found.memory.scaled == 1
    assert [phase.steps for phase in found.phases] == [4, 2]
    assert [phase.epochs for phase in found.phases] == [2.0, 1.0]  # 4 pictures
    assert found.seconds == pytest.approx(sum(phase.steps * phase.step_seconds for phase in found.phases))
    assert all(phase.step_seconds > 0 and phase.scaled == 1 for phase in found.phases)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["memory"]["total"] == found.memory.total and plain["steps"] == 6
    assert "memory of a device" in str(found) and "(measured)" in str(found)
    assert not (tmp_path / "run").exists()


def test_what_is_too_large_is_measured_on_less_and_scaled(
    recipe_values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(recipe_values)
    phases = (Phase(steps=10, size=256, batch=16),)
    recipe = replace(recipe, training=replace(recipe.training, phases=phases, workers=0))
    monkeypatch.setattr(measuring, "_LONGEST", 1e-9)
    found = estimate(Trainer(recipe, tmp_path, "cpu"), processes=4)
    assert found.phases[0].scaled == found.memory.scaled == 256 * 256 * 4 / (128 * 128 * 2)
    assert found.memory.exchange == found.memory.gradients
    assert "measured on less, times 8" in str(found)
    with pytest.raises(ConfigError, match=r"16 samples, which 3 processes.*15 or 18"):
        estimate(Trainer(recipe, tmp_path, "cpu"), processes=3)


def test_activation_checkpointing_shows(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    values = {**recipe_values, "network": {**recipe_values["network"], "backbone": "pvt_v2_b0"}}
    peaks = {}
    for which in ("none", "all"):
        training = {**recipe_values["training"], "activation_checkpointing": which}
        trainer = Trainer(parse_recipe({**values, "training": training}), tmp_path, "cpu")
        peaks[which] = measuring._Measuring(trainer, 1)._peak((128, 128), 2)
    assert peaks["all"] < 0.8 * peaks["none"]


def test_sizes_in_words_and_pixels() -> None:
    square, wide = Phase(steps=1, size=64, batch=1), Phase(steps=1, size=(96, 32), batch=1)
    scales = Phase(steps=1, size=64, batch=1, sizes=(64, 128))
    drawn = Phase(steps=1, size=64, batch=1, dynamic=DynamicSize(smallest=64, largest=128, step=32))
    assert [size_in_words(p) for p in (square, wide, scales, drawn)] == [
        *("64x64", "96x32", "sides of 64, 128", "64 to 128 a side"),
    ]
    assert [mean_pixels(p) for p in (square, wide, scales, drawn)] == [4096, 3072, (4096 + 16384) / 2, 96**2]


def test_durations() -> None:
    assert [duration(s) for s in (5.4, 3 * 3600 + 62, 100 * 3600)] == ["0:00:05", "3:01:02", "4 d 4 h"]
