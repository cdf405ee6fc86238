"""The training step against the reference's, and each loss against what can be worked out by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from birefnet.network import BiRefNet
from birefnet.network.backbones.layers import DropPath
from birefnet.training.losses import (
    LossWeights,
    bce,
    gradient_targets,
    iou,
    laplacian,
    mae,
    ssim,
    total_loss,
)
from birefnet.weights.checkpoint import load_model
from birefnet.weights.names import to_released
from tests import seeded

GOLDEN = Path(__file__).parent.parent / "golden"
TASKS = {"DIS5K": LossWeights(mae=0), "General": LossWeights(), "Matting": LossWeights(iou=0)}
# Biases followed by a batch norm have no effect and so no gradient: what is there is rounding.
NO_GRADIENT = 1e-3


def _golden(name: str) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    with gzip.open(GOLDEN / "training" / f"{name}.json.gz", "rt") as file:
        facts = json.load(file)
    with np.load(GOLDEN / "training" / f"{name}.npz") as arrays:
        return facts, dict(arrays)


def _without_chance(network: BiRefNet) -> BiRefNet:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, DropPath):
            module.rate = 0.0
    return network.train()


@pytest.mark.parametrize("name", ["train_swin_t_dis", "train_pvt_b0_general", "train_pvt_b0_matting"])
def test_one_training_step_equals_the_references(name: str) -> None:
    facts, arrays = _golden(name)
    with gzip.open(GOLDEN / "manifests" / f"{facts['backbone']}.json.gz", "rt") as file:
        network = _without_chance(load_model(seeded.state_dict(json.load(file))))
    height, width = facts["size"]  # type: ignore[misc]
    picture = torch.from_numpy(seeded.image(height, width, 2))
    target = torch.from_numpy(seeded.mask(height, width, 2))
    prediction = network(picture)
    loss, parts = total_loss(prediction, picture, target, TASKS[str(facts["task"])])

    for i in range(3):
        np.testing.assert_allclose(prediction.side_logits[i].detach(), arrays[f"side_logits.{i}"], atol=1e-3)
        np.testing.assert_allclose(prediction.edge_logits[i].detach(), arrays[f"gradient_logits.{i}"], atol=1e-3)
    np.testing.assert_allclose(prediction.logits.detach()[..., ::3, ::3], arrays["logits"], atol=1e-3)
    assert float(loss.detach()) == pytest.approx(facts["total"], rel=1e-4)
    assert parts.pop("gradient") == pytest.approx(facts["gradient_loss"], rel=1e-4)
    assert sum(parts.values()) == pytest.approx(facts["pixel_loss"], rel=1e-4)
    for term, value in facts["pixel_terms_mean_over_scales"].items():  # type: ignore[attr-defined]
        assert parts[term] / 4 == pytest.approx(value, rel=1e-4)

    loss.backward()
    norms = to_released({n: p.grad.norm() for n, p in network.named_parameters() if p.grad is not None})
    expected: dict[str, float] = facts["grad_norms"]  # type: ignore[assignment]
    assert norms.keys() == expected.keys()
    compared = [key for key, value in expected.items() if value > NO_GRADIENT]
    assert len(compared) > 0.9 * len(expected)
    off = {key: abs(float(norms[key]) / expected[key] - 1) for key in compared}
    # Some sums nearly cancel (biases of offsets at 4x4 positions, mostly). There the reference's own float32 figures
    # are up to 42 % from a float64 run of the same function, and ours change with the number of threads: what can be
    # asked is that they are few, and that the others agree.
    assert sum(value > 1e-2 for value in off.values()) <= 0.03 * len(off)
    assert sorted(off.values())[len(off) // 2] < 4e-3
    assert max(off.values()) < 0.3, max(off, key=lambda key: off[key])
    assert all(float(norms[key]) < 10 * NO_GRADIENT for key in expected.keys() - set(compared))
    after = to_released(network.state_dict())
    for key, value in facts["bn_running_mean_after"].items():  # type: ignore[attr-defined]
        assert float(after[key].norm()) == pytest.approx(value, rel=1e-4), key


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_iou_by_hand_is_summed_over_the_batch() -> None:
    target = torch.zeros(2, 1, 4, 4)
    target[:, :, :2] = 1
    probability = torch.zeros(2, 1, 4, 4)
    probability[0, :, 1:3] = 1  # overlaps 4 of 12
    assert float(iou(probability, target)) == pytest.approx((1 - 4 / 12) + 1, abs=1e-5)
    assert float(iou(target, target)) == pytest.approx(0, abs=1e-5)


def test_iou_of_an_empty_scene_rewards_emptiness() -> None:
    nothing = torch.zeros(1, 1, 8, 8)
    assert float(iou(nothing, nothing)) == pytest.approx(0, abs=1e-6)
    assert float(iou(nothing + 0.5, nothing)) == pytest.approx(1, abs=1e-5)


def test_bce_and_mae_by_hand() -> None:
    logits, target = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert float(bce(logits, target)) == pytest.approx(np.log(2), rel=1e-6)
    assert float(mae(logits.sigmoid(), target)) == pytest.approx(0.5)


def test_ssim_equals_the_windowed_sums_it_stands_for() -> None:
    """Against the definition: moments under an 11x11 Gaussian, zero padding, pixel by pixel."""
    p, t = _random(1, 1, 9, 13).double(), _random(1, 1, 9, 13, seed=1).double()
    at = np.arange(11) - 5
    g = np.exp(-(at**2) / (2 * 1.5**2))
    window = np.outer(g, g) / g.sum() ** 2
    a, b = np.pad(p[0, 0].numpy(), 5), np.pad(t[0, 0].numpy(), 5)
    values = []
    for y in range(9):
        for x in range(13):
            u, v = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mu, mv = (window * u).sum(), (window * v).sum()
            su, sv = (window * u * u).sum() - mu**2, (window * v * v).sum() - mv**2
            suv = (window * u * v).sum() - mu * mv
            values.append((2 * mu * mv + 1e-4) * (2 * suv + 9e-4) / ((mu**2 + mv**2 + 1e-4) * (su + sv + 9e-4)))
    assert float(ssim(p, t)) == pytest.approx(1 - (1 + np.mean(values)) / 2, abs=1e-9)
    assert float(ssim(p, p)) == pytest.approx(0, abs=1e-12)


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
    from birefnet.network import Prediction

    prediction = Prediction(logits=_random(1, 1, 32, 32))
    weights = LossWeights(bce=2, iou=0, ssim=0, mae=0, gradient=0)
    loss, parts = total_loss(prediction, _random(1, 3, 32, 32), _random(1, 1, 32, 32, seed=1), weights)
    assert list(parts) == ["bce"]
    assert float(loss) == pytest.approx(parts["bce"])
    with pytest.raises(ValueError, match="negative"):
        LossWeights(mae=-1)
