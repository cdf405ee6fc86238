"""The training step against the reference's, and the sum of the terms against what can be worked out by hand."""

from __future__ import annotations

import functools
import gzip
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.errors import ConfigError, InputError
from birefnet.network import Prediction
from birefnet.network.backbones.layers import DropPath
from birefnet.training import terms
from birefnet.training.losses import (
    LossWeights,
    classification_loss,
    gradient_targets,
    laplacian,
    total_loss,
)
from birefnet.weights.checkpoint import load_model
from birefnet.weights.names import to_released
from tests import seeded
from tests.goldens import manifest
from tests.rounding import FACTOR, spread

GOLDEN = Path(__file__).parent.parent / "golden"
TASKS = {"DIS5K": LossWeights(mae=0), "General": LossWeights(), "Matting": LossWeights(iou=0)}
CASES = ("train_swin_t_dis", "train_pvt_b0_general", "train_pvt_b0_matting")
# Batch norms follow these: what is added before them has no effect and so no gradient. What is there is rounding.
NO_GRADIENT = {
    *(f"decoder.decoder_block{block}.{conv}.bias" for block in (1, 2, 3, 4) for conv in ("conv_in", "conv_out")),
    *(f"squeeze_module.0.{conv}.bias" for conv in ("conv_in", "conv_out")),
    *(f"decoder.gdt_convs_{level}.0.bias" for level in (2, 3, 4)),
}
# The reference makes the window of its SSIM in float32, whatever it runs in, and we make ours in the precision of the
# logits. That moves the loss by up to 2.3e-7 of itself, and the gradients by up to 8e-6; by a little more only here,
# where a gradient is a sum that nearly cancels.
BY_THE_WINDOW = {"train_pvt_b0_matting": {"squeeze_module.0.dec_att.aspp1.atrous_conv.modulator_conv.bias": 2e-5}}


def _golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Losses and gradient norms that the reference computes in float64, and outputs that it computes in float32."""
    with gzip.open(GOLDEN / "training" / f"{name}.json.gz", "rt") as file:
        facts = json.load(file)
    with np.load(GOLDEN / "training" / f"{name}.npz") as arrays:
        return facts, dict(arrays)


class Step(nn.Module):
    """One training step without chance; gives what the network predicts, the loss, its parts, and every gradient."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.network = load_model(seeded.state_dict(manifest(facts["backbone"]))).train()
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, DropPath):
                module.rate = 0.0
        self.weights = TASKS[facts["task"]]

    def forward(self, picture: Tensor, target: Tensor) -> SimpleNamespace:
        self.network.zero_grad()
        with torch.enable_grad():
            prediction = self.network(picture)
            loss, parts = total_loss(prediction, picture, target, self.weights)
            loss.backward()
        gradients = to_released({n: p.grad for n, p in self.network.named_parameters() if p.grad is not None})
        return SimpleNamespace(prediction=prediction, loss=loss.detach(), parts=parts, gradients=gradients)


def _inputs(facts: dict[str, Any]) -> tuple[Tensor, Tensor]:
    height, width = facts["size"]
    return torch.from_numpy(seeded.image(height, width, 2)), torch.from_numpy(seeded.mask(height, width, 2))


@functools.cache
def _step_in_float64(name: str) -> tuple[Step, SimpleNamespace]:
    facts, _ = _golden(name)
    step = Step(facts).double()
    return step, step(*(x.double() for x in _inputs(facts)))


def _check_against_the_reference(name: str, loss: float, norm: float, but: dict[str, float]) -> None:
    facts, _ = _golden(name)
    _, found = _step_in_float64(name)
    parts = dict(found.parts)
    assert float(found.loss) == pytest.approx(facts["total"], rel=loss)
    assert parts.pop("gradient") == pytest.approx(facts["gradient_loss"], rel=1e-12)
    assert sum(parts.values()) == pytest.approx(facts["pixel_loss"], rel=loss)
    norms = {key: float(value.norm()) for key, value in found.gradients.items()}
    expected: dict[str, float] = facts["grad_norms"]
    assert norms.keys() == expected.keys() > NO_GRADIENT
    off = {key: abs(norms[key] / expected[key] - 1) for key in expected.keys() - NO_GRADIENT}
    assert {key: value for key, value in off.items() if value > but.get(key, norm)} == {}
    assert max(max(norms[key], expected[key]) for key in NO_GRADIENT) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_one_training_step_equals_the_references(name: str) -> None:
    _check_against_the_reference(name, loss=1e-6, norm=1e-5, but=BY_THE_WINDOW.get(name, {}))
    facts, arrays = _golden(name)
    step, found = _step_in_float64(name)
    # What follows the reference keeps in float32 only. Nothing here depends on this machine: both are fixed.
    for term, value in facts["pixel_terms_mean_over_scales"].items():
        assert found.parts[term] / 4 == pytest.approx(value, rel=1e-5), term
    for i in range(3):
        np.testing.assert_allclose(found.prediction.side_logits[i].detach(), arrays[f"side_logits.{i}"], atol=1e-3)
        np.testing.assert_allclose(found.prediction.edge_logits[i].detach(), arrays[f"gradient_logits.{i}"], atol=1e-3)
    np.testing.assert_allclose(found.prediction.logits.detach()[..., ::3, ::3], arrays["logits"], atol=1e-3)
    after = to_released(step.network.state_dict())
    for key, value in facts["bn_running_mean_after"].items():
        assert float(after[key].norm()) == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize("name", CASES)
def test_with_the_references_window_nothing_differs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the window is all that the reference computes in float32 here."""
    row = torch.tensor([math.exp(-((tap - 5) ** 2) / (2 * 1.5**2)) for tap in range(11)])  # float32
    window = torch.outer(row / row.sum(), row / row.sum())[None, None].double()
    monkeypatch.setattr(terms, "_blur", lambda maps: F.conv2d(maps, window, padding=5))
    _step_in_float64.cache_clear()
    try:
        _check_against_the_reference(name, loss=1e-10, norm=1e-9, but={})
    finally:
        _step_in_float64.cache_clear()


def test_one_training_step_in_float32() -> None:
    """Against the same step in float64, in units of how far rounding moves it: see `tests.rounding`.

    A gradient jumps where a ReLU changes sign, or a deformable sample crosses a pixel. Rounding takes
    some over such a step, differently on every machine, so only of most gradients can it be asked.
    """
    facts, _ = _golden("train_pvt_b0_matting")
    step, inputs = Step(facts), _inputs(facts)
    results = lambda found: [found.loss, *found.gradients.values()]  # noqa: E731
    (loss, _), *gradients = spread(step, inputs, results).off(results(step(*inputs)))
    assert loss <= FACTOR
    assert np.median([mean for _, mean in gradients]) <= FACTOR


def _random(*shape: int, seed: int = 0) -> Tensor:
    """Uniform in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _logits(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_laplacian_is_zero_on_plains_and_slopes() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    slope = (0.3 * x + 0.1 * y + 2).expand(1, 3, 12, 16)
    assert laplacian(slope)[..., 2:-2, 2:-2].abs().max() < 1e-5
    dot = torch.zeros(1, 3, 9, 9)
    dot[..., 4, 4] = 1
    assert float(laplacian(dot)[0, 0, 4, 4]) == pytest.approx(-24 / 48)
    assert float(laplacian(dot)[0, 0, 2, 2]) == pytest.approx(1 / 48)


def test_the_gradient_target_teaches_the_side_predictions_too() -> None:
    sides = tuple(_random(1, 1, size, size, seed=size).requires_grad_() for size in (2, 4, 8))
    targets = gradient_targets(sides, _random(1, 3, 32, 32))
    assert [tuple(target.shape) for target in targets] == [(1, 1, 32, 32)] * 3
    torch.stack([target.square().sum() for target in targets]).sum().backward()
    assert all(side.grad is not None and side.grad.abs().sum() > 0 for side in sides)


def test_a_term_of_weight_zero_is_left_out() -> None:
    prediction = Prediction(logits=_random(1, 1, 32, 32))
    weights = LossWeights(bce=2, iou=0, ssim=0, mae=0, gradient=0)
    loss, parts = total_loss(prediction, _random(1, 3, 32, 32), _random(1, 1, 32, 32, seed=1), weights)
    assert list(parts) == ["bce"]
    assert float(loss) == pytest.approx(parts["bce"])
    with pytest.raises(ValueError, match="negative"):
        LossWeights(mae=-1)


def _part(prediction: Prediction, rows: slice) -> Prediction:
    assert prediction.class_logits is not None
    return Prediction(
        logits=prediction.logits[rows],
        side_logits=tuple(side[rows] for side in prediction.side_logits),
        edge_logits=tuple(edge[rows] for edge in prediction.edge_logits),
        class_logits=prediction.class_logits[rows],
    )


ALL = ("bce", "iou", "iou_patch", "ssim", "mae", "mse", "reg", "cnt", "structure", "gradient", "classification")


@pytest.mark.parametrize("cut", [1, 3])
def test_parts_of_a_batch_add_up_to_the_whole_in_every_term_and_gradient(cut: int) -> None:
    logits = _logits(5, 1, 96, 80).requires_grad_()
    prediction = Prediction(
        logits=logits,
        side_logits=tuple(logits[..., :: 96 // size, :: 80 // size] for size in (4, 8, 16)),
        edge_logits=tuple(_logits(5, 1, size, size, seed=size) for size in (4, 8, 16)),
        class_logits=_logits(5, 7, seed=2),
    )
    picture, target = _logits(5, 3, 96, 80, seed=3), _random(5, 1, 96, 80, seed=1)
    classes = torch.tensor([3, -1, 0, 6, -1])
    weights = LossWeights(**{name: 1.0 + i / 8 for i, name in enumerate(ALL)}, sides=0.5)
    whole, parts = total_loss(prediction, picture, target, weights, classes=classes)
    assert set(parts) == set(ALL) and all(value > 0 for value in parts.values())
    (gradient,) = torch.autograd.grad(whole, logits, retain_graph=True)

    added, sums = torch.zeros(()), dict.fromkeys(ALL, 0.0)
    for rows in (slice(0, cut), slice(cut, 5)):
        share = len(classes[rows]) / 5
        loss, found = total_loss(
            _part(prediction, rows), picture[rows], target[rows], weights, classes=classes[rows], share=share
        )
        added = added + loss
        sums = {name: sums[name] + found[name] for name in ALL}
    assert float(added.detach()) == pytest.approx(float(whole.detach()), rel=1e-5)
    assert sums == pytest.approx(parts, rel=1e-5)
    torch.testing.assert_close(torch.autograd.grad(added, logits)[0], gradient, rtol=1e-3, atol=1e-7)


def test_the_classifiers_loss_by_hand_and_without_labels() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, np.log(3.0)], [5.0, 1.0]])
    expected = (np.log(2) + np.log(4 / 3)) / 3  # the third picture has no class and counts as 0
    assert float(classification_loss(logits, torch.tensor([0, 1, -1]))) == pytest.approx(expected, rel=1e-6)
    assert float(classification_loss(logits, torch.tensor([-1, -1, -1]))) == 0
    with pytest.raises(InputError, match="class 2, but the network knows 2"):
        classification_loss(logits, torch.tensor([0, 2, -1]))


def test_autocast_does_not_reach_the_loss() -> None:
    prediction = Prediction(logits=_logits(2, 1, 64, 64), side_logits=(_logits(2, 1, 8, 8),))
    picture, target = _logits(2, 3, 64, 64, seed=1), _random(2, 1, 64, 64)
    outside, parts = total_loss(prediction, picture, target, LossWeights())
    with torch.autocast("cpu", torch.bfloat16):
        inside, same = total_loss(prediction, picture, target, LossWeights())
    assert float(inside) == float(outside)
    assert same == parts


def test_a_loss_without_terms_is_refused() -> None:
    nothing = LossWeights(bce=0, iou=0, ssim=0, mae=0)
    with pytest.raises(ConfigError, match="nothing to learn"):
        total_loss(Prediction(logits=_logits(1, 1, 32, 32)), _logits(1, 3, 32, 32), _random(1, 1, 32, 32), nothing)
