"""The loss of a batch: a weighted sum of terms, where the weights are data, see `LossWeights`.

Legend: B batch; H, W size. Sources: Zheng et al., CAAI AIR 2024 (the sum and its weights); Qin et al., BASNet, CVPR
2019 (bce + iou + ssim); Wang et al., IEEE TIP 2004 (ssim). The terms themselves are in `terms.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from birefnet.errors import ConfigError, InputError
from birefnet.network import Prediction
from birefnet.training.settings import unknown
from birefnet.training.terms import TERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each term counts; the defaults are those of the General task. A term of weight 0 is not computed.

    Attributes:
        bce: binary cross entropy.
        iou: soft intersection over union, summed over the batch.
        iou_patch: the same in 64x64 windows.
        ssim: structural similarity.
        mae: mean absolute error.
        mse: mean squared error.
        reg: threshold regularisation, against uncertain values.
        cnt: contour loss.
        structure: cross entropy and IoU weighted towards edges.
        sides: factor on all of these for the side predictions at strides 32, 16 and 8, beside 1 for the final one.
        gradient: factor on the gradient reference's own loss.
        classification: factor on the cross entropy of the auxiliary classifier, if the network has one.
    """

    bce: float = 30.0
    iou: float = 0.5
    iou_patch: float = 0.0
    ssim: float = 10.0
    mae: float = 100.0
    mse: float = 0.0
    reg: float = 0.0
    cnt: float = 0.0
    structure: float = 0.0
    sides: float = 1.0
    gradient: float = 1.0
    classification: float = 1.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            if not getattr(self, entry.name) >= 0:
                raise ConfigError(f"`losses.{entry.name}` is {getattr(self, entry.name)}; it must not be negative")


def check_terms(names: Iterable[str], prefix: str) -> None:
    """Raise ConfigError for the first of `names` that is no field of `LossWeights`, naming the nearest."""
    known = [entry.name for entry in fields(LossWeights)]
    for name in names:
        if name not in known:
            raise unknown("Unknown term", name, known, prefix)


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


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision in float32, where a loss is a loss; float32 and float64 as they are."""
    return values.float() if values.dtype.itemsize < 4 else values


def resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners, as everywhere inside the network."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)


def pixel_terms(logits: Tensor, target: Tensor, weights: LossWeights, share: float = 1.0) -> dict[str, Tensor]:
    """The weighted terms of one prediction, resized to the target; see `total_loss` for `share`."""
    logits = resize(at_least_float32(logits), (target.shape[2], target.shape[3]))
    probability = logits.sigmoid()
    terms: dict[str, Tensor] = {}
    for name, term in TERMS.items():
        weight = getattr(weights, name)
        if weight:
            terms[name] = weight * (1.0 if term.is_sum else share) * term.of(logits, probability, target)
    return terms


def gradient_targets(side_logits: tuple[Tensor, ...], picture: Tensor) -> tuple[Tensor, ...]:
    """What the gradient predictions should be, before the sigmoid: side logits times the picture's Laplacian.

    The side logits are *not* detached: the reference lets this loss teach them too, and its gradients
    can only be matched so.
    """
    edges = laplacian(at_least_float32(picture))
    size = (picture.shape[2], picture.shape[3])
    return tuple(resize(at_least_float32(logits), size) * edges for logits in side_logits)


def gradient_loss(prediction: Prediction, picture: Tensor) -> Tensor:
    """Sum over the strides of the cross entropy between predicted and actual gradient (the "outward reference")."""
    total = at_least_float32(picture.new_zeros(()))
    targets = gradient_targets(prediction.side_logits, picture)
    for logits, target in zip(prediction.edge_logits, targets, strict=True):
        resized = resize(at_least_float32(logits), (target.shape[2], target.shape[3]))
        total = total + F.binary_cross_entropy_with_logits(resized, target.sigmoid())
    return total


def classification_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy of the auxiliary classifier, the mean over the batch.

    Args:
        logits: (B, classes).
        classes: (B,) int64; a picture without a class has -1 and counts as 0, so that parts of a batch still add up.

    Raises:
        InputError: if a class is not below the number of logits.
    """
    if bool((classes >= logits.shape[1]).any()):
        raise InputError(f"A picture has class {int(classes.max())}, but the network knows {logits.shape[1]} classes")
    entropy = F.cross_entropy(at_least_float32(logits), classes, ignore_index=-1, reduction="sum")
    return entropy / len(classes)


def total_loss(
    prediction: Prediction,
    picture: Tensor,
    target: Tensor,
    weights: LossWeights,
    *,
    classes: Tensor | None = None,
    share: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch and its parts, computed in float32 even under autocast; float64 stays float64.

    A batch that is computed in parts (accumulated, or on several devices) gives the same loss: each part states its
    share, and the parts' losses, terms and gradients add up to those of the whole. Most terms are means over the
    batch and are multiplied by the share; the IoU terms are sums over pictures and are not.

    Args:
        prediction: of a network in training mode.
        picture: (B, 3, H, W), normalised, as the network saw it.
        target: (B, 1, H, W) in [0, 1].
        weights: how much each term counts.
        classes: (B,) int64 for the auxiliary classifier, -1 where there is none; None leaves its loss out.
        share: pictures of this part over pictures of the whole batch.

    Returns:
        The scalar to minimise, and each term's weighted sum over all predictions as a float.
    """
    parts: dict[str, Tensor] = {}
    with torch.autocast(picture.device.type, enabled=False):
        for logits, factor in [(side, weights.sides) for side in prediction.side_logits] + [(prediction.logits, 1.0)]:
            for name, term in pixel_terms(logits, target, weights, share).items():
                parts[name] = parts.get(name, target.new_zeros(())) + factor * term
        if weights.gradient and prediction.edge_logits:
            parts["gradient"] = weights.gradient * share * gradient_loss(prediction, picture)
        if weights.classification and classes is not None and prediction.class_logits is not None:
            found = classification_loss(prediction.class_logits, classes)
            parts["classification"] = weights.classification * share * found
    if not parts:
        raise ConfigError("All weights of `losses` are 0, so there is nothing to learn; set at least one above 0")
    terms = torch.stack(list(parts.values()))
    # One transfer for all terms: each would make a GPU wait.
    return terms.sum(), dict(zip(parts, terms.tolist(), strict=True))
