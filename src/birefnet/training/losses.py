"""Losses as pure functions of tensors; how they are weighed is data, see `LossWeights`.

Legend: B batch; H, W size. Probabilities and targets are (B, 1, H, W) in [0, 1], float32. Sources: Zheng
et al., CAAI AIR 2024 (the sum and its weights); Qin et al., BASNet, CVPR 2019 (bce + iou + ssim);
Wang et al., IEEE TIP 2004 (ssim).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet.errors import ConfigError
from birefnet.network import Prediction

_TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each term counts; the defaults are those of the General task.

    Attributes:
        bce, iou, ssim, mae: the pixel terms, on every prediction.
        sides: factor on the side predictions at strides 32, 16 and 8, beside 1 for the final one.
        gradient: factor on the gradient reference's own loss.
    """

    bce: float = 30.0
    iou: float = 0.5
    ssim: float = 10.0
    mae: float = 100.0
    sides: float = 1.0
    gradient: float = 1.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            if getattr(self, entry.name) < 0:
                raise ConfigError(f"`losses.{entry.name}` is {getattr(self, entry.name)}; it must not be negative")


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy, the mean over all pixels."""
    return F.binary_cross_entropy_with_logits(logits, target)


def iou(probability: Tensor, target: Tensor) -> Tensor:
    """One minus soft intersection over union per picture, *summed* over the batch."""
    intersection = (probability * target).sum(dim=(1, 2, 3))
    union = (probability + target - probability * target).sum(dim=(1, 2, 3))
    # An empty target with an empty prediction is perfect, not 0/0.
    return (1 - (intersection + _TINY) / (union + _TINY)).sum()


def mae(probability: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (probability - target).abs().mean()


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

    As two products with banded matrices: more multiplications than a convolution, but on a CPU one of few channels
    runs at a hundredth of a matrix product's speed, and this was half of the time of a step.
    """
    height, width = maps.shape[-2:]
    return _window(height, maps) @ (maps @ _window(width, maps))


def _window(length: int, like: Tensor, taps: int = 11, sigma: float = 1.5) -> Tensor:
    """(length, length): entry (i, j) is the Gaussian's weight at distance i - j, 0 beyond its taps."""
    at = torch.arange(length, dtype=like.dtype, device=like.device)
    distance = at[:, None] - at[None, :]
    half = taps // 2
    total = sum(math.exp(-(tap * tap) / (2 * sigma**2)) for tap in range(-half, half + 1))
    return torch.exp(-distance * distance / (2 * sigma**2)) * (distance.abs() <= half) / total


def laplacian(picture: Tensor) -> Tensor:
    """The normalised 5x5 Laplacian of a picture's channel mean, reflected at the border.

    Args:
        picture: (B, 3, H, W).

    Returns:
        (B, 1, H, W).
    """
    kernel = picture.new_full((1, 1, 5, 5), 1.0)
    kernel[0, 0, 2, 2] = -24.0
    grey = F.pad(picture.mean(dim=1, keepdim=True), (2, 2, 2, 2), mode="reflect")
    return F.conv2d(grey, kernel / kernel.abs().sum())


def resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners, as everywhere inside the network."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)


def pixel_terms(logits: Tensor, target: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """The weighted terms of one prediction, resized to the target; terms of weight 0 are not computed."""
    logits = resize(logits.float(), (target.shape[2], target.shape[3]))
    probability = logits.sigmoid()
    terms: dict[str, Tensor] = {}
    if weights.bce:
        terms["bce"] = weights.bce * bce(logits, target)
    if weights.iou:
        terms["iou"] = weights.iou * iou(probability, target)
    if weights.ssim:
        terms["ssim"] = weights.ssim * ssim(probability, target)
    if weights.mae:
        terms["mae"] = weights.mae * mae(probability, target)
    return terms


def gradient_targets(side_logits: tuple[Tensor, ...], picture: Tensor) -> tuple[Tensor, ...]:
    """What the gradient predictions should be, before the sigmoid: side logits times the picture's Laplacian.

    The side logits are *not* detached: the reference lets this loss teach them too, and its gradients
    can only be matched so.
    """
    edges = laplacian(picture.float())
    size = (picture.shape[2], picture.shape[3])
    return tuple(resize(logits.float(), size) * edges for logits in side_logits)


def gradient_loss(prediction: Prediction, picture: Tensor) -> Tensor:
    """Sum over the strides of the cross entropy between predicted and actual gradient (the "outward reference")."""
    total = picture.new_zeros((), dtype=torch.float32)
    targets = gradient_targets(prediction.side_logits, picture)
    for logits, target in zip(prediction.edge_logits, targets, strict=True):
        resized = resize(logits.float(), (target.shape[2], target.shape[3]))
        total = total + F.binary_cross_entropy_with_logits(resized, target.sigmoid())
    return total


def total_loss(
    prediction: Prediction, picture: Tensor, target: Tensor, weights: LossWeights
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch and its parts.

    Args:
        prediction: of a network in training mode.
        picture: (B, 3, H, W), normalised, as the network saw it.
        target: (B, 1, H, W) in [0, 1].
        weights: how much each term counts.

    Returns:
        The scalar to minimise, and each term's weighted sum over all predictions as a float.
    """
    parts: dict[str, Tensor] = {}
    for logits, factor in [(side, weights.sides) for side in prediction.side_logits] + [(prediction.logits, 1.0)]:
        for name, term in pixel_terms(logits, target, weights).items():
            parts[name] = parts.get(name, picture.new_zeros(())) + factor * term
    if weights.gradient and prediction.edge_logits:
        parts["gradient"] = weights.gradient * gradient_loss(prediction, picture)
    return torch.stack(list(parts.values())).sum(), {name: float(term.detach()) for name, term in parts.items()}
