"""Each term of the loss against the reference's figures and against what can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet.training.terms import PATCH, TERMS, bce, cnt, iou, iou_patch, mae, mse, reg, ssim, structure
from tests import seeded

FIGURES = json.loads((Path(__file__).parent.parent / "golden" / "training" / "losses.json").read_text())


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _reference_inputs(case: dict[str, object]) -> tuple[Tensor, Tensor]:
    """Logits and target of the reference's figures: twice a seeded picture's first channel, and a seeded mask."""
    (height, width), batch, seed = case["size"], case["batch"], case["seed"]  # type: ignore[misc]
    logits = 2 * seeded.image(height, width, batch, seed)[:, :1]  # type: ignore[has-type]
    return torch.from_numpy(logits), torch.from_numpy(seeded.mask(height, width, batch, seed))  # type: ignore[has-type]


@pytest.mark.parametrize("case", FIGURES.values(), ids=FIGURES)
def test_every_term_equals_the_references(case: dict[str, float]) -> None:
    logits, target = _reference_inputs(case)  # type: ignore[arg-type]
    expected = {name.split(" ")[0]: value for name, value in case.items() if name not in ("size", "batch", "seed")}
    corner = expected.pop("iou_patch")  # the reference sees one window only, see below
    found = {name: float(term.of(logits, logits.sigmoid(), target)) for name, term in TERMS.items()}
    assert found.keys() == expected.keys() | {"iou_patch"}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    first = slice(None, PATCH)
    window = float(iou_patch(logits.sigmoid()[..., first, first], target[..., first, first]))
    assert window == pytest.approx(corner, rel=1e-5)


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


@pytest.mark.parametrize("size", [(32, 32), (45, 70), (96, 33)])
def test_ssim_is_the_same_whatever_the_blocks_it_is_computed_in(size: tuple[int, int]) -> None:
    p, t = _random(2, 1, *size).double(), _random(2, 1, *size, seed=1).double()
    g = torch.exp(-((torch.arange(11.0).double() - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(g, g)[None, None] / g.sum() ** 2
    mp, mt, pp, tt, pt = (F.conv2d(maps, window, padding=5) for maps in (p, t, p * p, t * t, p * t))
    similarity = (2 * mp * mt + 1e-4) * (2 * (pt - mp * mt) + 9e-4)
    similarity /= (mp**2 + mt**2 + 1e-4) * (pp - mp**2 + tt - mt**2 + 9e-4)
    assert float(ssim(p, t)) == pytest.approx(float(1 - (1 + similarity.mean()) / 2), rel=1e-12)


def test_a_picture_of_one_window_has_the_same_patch_iou_as_iou() -> None:
    probability, target = _random(3, 1, 64, 48), _random(3, 1, 64, 48, seed=1)
    assert float(iou_patch(probability, target)) == pytest.approx(float(iou(probability, target)), rel=1e-6)


def test_patch_iou_by_hand_with_windows_at_the_edges() -> None:
    """A picture of 128 x 96: windows of 64x64 on the left, 64x32 on the right."""
    target, probability = torch.zeros(1, 1, 128, 96), torch.zeros(1, 1, 128, 96)
    target[..., :32, :32] = 1  # top left: 1024 pixels wanted, 512 of them and 512 others found
    probability[..., :16, :64] = 1
    target[..., :64, 64:] = 1  # top right: all wanted, a quarter found
    probability[..., :16, 64:] = 1
    probability[..., 64:, 64:] = 0.5  # bottom right: nothing wanted, half found; bottom left: nothing, rightly
    windows = (1 - 512 / 1536) + (1 - 1 / 4) + 1 + 0
    assert float(iou_patch(probability, target)) == pytest.approx(windows / 4, abs=1e-5)
    assert float(iou_patch(target, target)) == pytest.approx(0, abs=1e-6)


def test_patch_iou_sees_every_window_and_sums_over_the_batch() -> None:
    probability, target = _random(2, 1, 130, 70), _random(2, 1, 130, 70, seed=1)
    rows, columns = (slice(0, 64), slice(64, 128), slice(128, 130)), (slice(0, 64), slice(64, 70))
    parts = [float(iou(probability[..., y, x], target[..., y, x])) for y in rows for x in columns]
    assert float(iou_patch(probability, target)) == pytest.approx(sum(parts) / 6, rel=1e-5)
    learning = probability.clone().requires_grad_()
    iou_patch(learning, target).backward()
    assert learning.grad is not None and bool((learning.grad != 0).all())


def test_mse_and_regularisation_by_hand() -> None:
    probability = torch.tensor([0.0, 1.0, 0.5, 0.2]).view(1, 1, 2, 2)
    target = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 2, 2)
    assert float(mse(probability, target)) == pytest.approx((1 + 0 + 0.25 + 0.04) / 4)
    assert float(reg(probability)) == pytest.approx((0 + 0 + 0.5 + (1 - 0.04 - 0.64)) / 4)


def test_the_contour_loss_by_hand() -> None:
    """An upright edge of height 1 between two plains: its length is one column of the grid of differences."""
    probability = torch.zeros(1, 1, 12, 12)
    probability[..., 5:] = 1
    target = torch.zeros(1, 1, 12, 12)
    target[..., 7:] = 1  # two columns of twelve are wrongly found
    length = 10 * (0.1 + 0.9 * 1e-4)  # one of ten columns; the others have the square root of 1e-8
    assert float(cnt(probability, target)) == pytest.approx(length + 2 / 12, rel=1e-4)
    assert float(cnt(1 - probability, 1 - target)) == pytest.approx(length + 2 / 12, rel=1e-4)


def test_the_structure_loss_by_hand() -> None:
    """A plain target has weight 1 inside, so away from the border both halves are the unweighted ones."""
    target = torch.ones(1, 1, 8, 8)
    weight = 1 + 5 * (F.avg_pool2d(target, 31, stride=1, padding=15) - 1).abs()
    logits = torch.full((1, 1, 8, 8), float(np.log(3.0)))  # 3/4 everywhere
    total = float(weight.sum())
    expected = -np.log(0.75) + 1 - (0.75 * total + 1) / (total + 1)
    assert float(structure(logits, target)) == pytest.approx(expected, rel=1e-5)
    assert float(structure(torch.full((1, 1, 8, 8), 40.0), target)) == pytest.approx(0, abs=1e-6)


def test_the_structure_loss_minds_edges_more_than_plains() -> None:
    target = torch.zeros(1, 1, 128, 128)
    target[..., 64:, :] = 1
    right = (target * 2 - 1) * 6
    at_edge, on_plain = right.clone(), right.clone()
    at_edge[..., 60:64, :] *= -1
    on_plain[..., 20:24, :] *= -1
    assert float(structure(at_edge, target)) > 2 * float(structure(on_plain, target))


@pytest.mark.parametrize("name", TERMS)
def test_every_term_falls_towards_the_target_and_has_finite_gradients(name: str) -> None:
    target = (_random(2, 1, 70, 66) > 0.5).float()
    logits = ((target * 2 - 1) * 40).requires_grad_()
    best = TERMS[name].of(logits, logits.sigmoid(), target)
    best.backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all())
    unsure = torch.zeros_like(target)
    worse = float(TERMS[name].of(unsure, unsure.sigmoid(), target))
    if name == "cnt":  # half of it is the length, which a plain prediction has not
        return
    assert float(best.detach()) < 1e-4 < worse
