"""The terms of the pixel loss, each a pure function of one prediction and its target.

Legend: B batch; H, W size. Logits, probabilities and targets are (B, 1, H, W) float32, the latter two in [0, 1].
Every term is a scalar: the mean over the batch, except `iou` and `iou_patch`, which are sums over its pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-6
PATCH = 64  # side of `iou_patch`'s windows in pixels


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy, the mean over all pixels."""
    return F.binary_cross_entropy_with_logits(logits, target)


def iou(probability: Tensor, target: Tensor) -> Tensor:
    """One minus soft intersection over union per picture, *summed* over the batch."""
    intersection = (probability * target).sum(dim=(1, 2, 3))
    union = (probability + target - probability * target).sum(dim=(1, 2, 3))
    # An empty target with an empty prediction is perfect, not 0/0.
    return (1 - (intersection + _TINY) / (union + _TINY)).sum()


def iou_patch(probability: Tensor, target: Tensor) -> Tensor:
    """`iou` in each 64x64 window, its mean over a picture's windows, *summed* over the batch.

    The windows are tiles from the top left corner that cover every pixel once; those at the right and at the bottom
    hold what is left. A picture of one window has the same value as under `iou`, and the term's weight means the
    same at every size. The reference means to do this, but its loop runs over the batch and channel axes, so that
    it sees the first window alone.
    """
    height, width = target.shape[-2:]
    # Zeros outside add nothing to intersection or union, so the windows at the edge are exact.
    border = (0, -width % PATCH, 0, -height % PATCH)
    product = probability * target
    intersection, union = (
        F.avg_pool2d(F.pad(map_, border), PATCH) * PATCH**2 for map_ in (product, probability + target - product)
    )
    return (1 - (intersection + _TINY) / (union + _TINY)).mean(dim=(1, 2, 3)).sum()


def mae(probability: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (probability - target).abs().mean()


def mse(probability: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return (probability - target).square().mean()


def reg(probability: Tensor) -> Tensor:
    """Threshold regularisation, mean(1 - p² - (p - 1)²): 0 where all is certain, 1/2 where p is 1/2 everywhere."""
    return (1 - probability.square() - (probability - 1).square()).mean()


def cnt(probability: Tensor, target: Tensor) -> Tensor:
    """Contour loss: ten times the length of the contours and the two regions' errors.

    Chen et al., "Learning active contour models for medical image segmentation", CVPR 2019, with the constants 1 and 0
    for inside and outside, and means for integrals. The length is the mean of the gradient's magnitude, with forward
    differences taken one pixel on along their own axis and two from the far edge of the other, as the reference does.
    """
    down = (probability[..., 2:, :-2] - probability[..., 1:-1, :-2]).square()
    right = (probability[..., :-2, 2:] - probability[..., :-2, 1:-1]).square()
    length = (down + right + 1e-8).sqrt().mean()
    inside = ((1 - probability) * target.square()).mean()
    outside = (probability * (1 - target).square()).mean()
    return 10 * length + inside + outside


def structure(logits: Tensor, target: Tensor) -> Tensor:
    """Weighted cross entropy plus weighted IoU, where pixels unlike their 31x31 surroundings count up to six times.

    The pixel position aware loss of Wei et al., "F3Net", AAAI 2020: both are normalised per picture, then averaged
    over the batch.
    """
    # A square's mean is the mean of means, fifteen times cheaper; zeros outside count, as in the reference.
    around = F.avg_pool2d(target, (31, 1), stride=1, padding=(15, 0))
    around = F.avg_pool2d(around, (1, 31), stride=1, padding=(0, 15))
    weight = 1 + 5 * (around - target).abs()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    intersection = (weight * probability * target).sum(dim=(1, 2, 3))
    both = (weight * (probability + target)).sum(dim=(1, 2, 3))
    weighted_entropy = (weight * entropy).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    return (weighted_entropy + 1 - (intersection + 1) / (both - intersection + 1)).mean()


def ssim(probability: Tensor, target: Tensor) -> Tensor:
    """1 - (1 + SSIM) / 2 with an 11-tap Gaussian window of sigma 1.5 and zero padding, in [0, 1]."""
    mean_p, mean_t = _blur(probability), _blur(target)
    variance_p = _blur(probability * probability) - mean_p * mean_p
    variance_t = _blur(target * target) - mean_t * mean_t
    covariance = _blur(probability * target) - mean_p * mean_t
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_p * mean_t + c1) * (2 * covariance + c2)) / (
        (mean_p * mean_p + mean_t * mean_t + c1) * (variance_p + variance_t + c2)
    )
    return 1 - (1 + similarity.mean()) / 2


def _blur(maps: Tensor) -> Tensor:
    """(B, 1, H, W) blurred by the Gaussian window, zero outside.

    Along each axis as matrix products of blocks of pixels with a banded matrix: many more multiplications than a
    convolution, but on a CPU one of a single channel runs at a hundredth of a matrix product's speed, and this was half
    of the time of a step.
    """
    height, width = maps.shape[-2:]
    bands = _bands(maps)
    taken, made = bands.shape
    reach = (taken - made) // 2
    maps = F.pad(maps, (reach, reach + -width % made, reach, reach + -height % made))
    maps = (maps.unfold(-1, taken, made) @ bands).flatten(-2)  # (B, 1, H + margins, W)
    maps = bands.T @ maps.unfold(-2, taken, made).transpose(-1, -2)  # (B, 1, blocks, made, W)
    return maps.flatten(-3, -2)[..., :height, :width]


def _bands(like: Tensor, made: int = 32, taps: int = 11, sigma: float = 1.5) -> Tensor:
    """(made + taps - 1, made): column j holds the Gaussian's weights from row j on."""
    reach = taps // 2
    row = torch.arange(made + 2 * reach, dtype=like.dtype, device=like.device)
    distance = row[:, None] - row[None, :made] - reach
    total = sum(math.exp(-(tap * tap) / (2 * sigma**2)) for tap in range(-reach, reach + 1))
    return torch.exp(-distance * distance / (2 * sigma**2)) * (distance.abs() <= reach) / total


class Term(NamedTuple):
    """How a term is computed, and whether it is a sum over the batch's pictures instead of their mean."""

    of: Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, their sigmoid, target
    is_sum: bool = False


TERMS = {
    "bce": Term(lambda logits, _, target: bce(logits, target)),
    "iou": Term(lambda _, probability, target: iou(probability, target), is_sum=True),
    "iou_patch": Term(lambda _, probability, target: iou_patch(probability, target), is_sum=True),
    "ssim": Term(lambda _, probability, target: ssim(probability, target)),
    "mae": Term(lambda _, probability, target: mae(probability, target)),
    "mse": Term(lambda _, probability, target: mse(probability, target)),
    "reg": Term(lambda _, probability, __: reg(probability)),
    "cnt": Term(lambda _, probability, target: cnt(probability, target)),
    "structure": Term(lambda logits, _, target: structure(logits, target)),
}
