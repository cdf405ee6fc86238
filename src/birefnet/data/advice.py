"""From what the masks and pictures of a folder are like to the losses, recipe and size that fit them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from birefnet.data.facts import MaskFacts
from birefnet.inputs import nearest_multiple

SOFT_EDGE = 3.0  # pixels; the edges of hard masks that were reduced once or twice are narrower
MANY = 2000  # pairs from which training from a backbone, not from a released model, is worth a thought

Task = Literal["segmentation", "matting", "mixed"]

# Weights of the losses' terms, from the reference's recipes, and the recipe and released model of each kind of mask.
_LOSSES: dict[Task, dict[str, float]] = {
    "segmentation": {"bce": 30, "iou": 0.5, "ssim": 10, "mae": 0},
    "matting": {"bce": 30, "iou": 0, "ssim": 10, "mae": 100},
    "mixed": {"bce": 30, "iou": 0.5, "ssim": 10, "mae": 100},
}
_RECIPES: dict[Task, tuple[str, str]] = {
    "segmentation": ("dis5k", "general"),
    "matting": ("matting", "matting"),
    "mixed": ("general", "general"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Softness:
    """How soft the masks of a folder are; all values are medians but the last.

    Attributes:
        grey: share of grey pixels, 0..1.
        edge: width of the soft edge in pixels.
        two_valued: part of the variance that two values explain, 0..1.
        soft: share of masks whose soft edge is at least `SOFT_EDGE` wide.
    """

    grey: float
    edge: float
    two_valued: float
    soft: float

    @property
    def task(self) -> Task:
        """Whose losses fit: those of hard masks, of soft ones, or both."""
        return "matting" if self.soft >= 0.5 else "segmentation" if self.soft <= 0.1 else "mixed"

    @property
    def words(self) -> str:
        """One sentence."""
        verdict = {
            "segmentation": "hard masks",
            "matting": "soft alpha (hair, translucency)",
            "mixed": "hard and soft masks mixed",
        }[self.task]
        return (
            f"{verdict}: {self.grey:.1%} of a mask is grey, its soft edge is {self.edge:.1f} pixels wide (medians); "
            f"{self.soft:.0%} of the masks have a soft edge"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to train with.

    Attributes:
        task: the losses that fit.
        losses: their terms' weights.
        recipe: name of the recipe.
        start: name of the model to start from; None where the recipe starts from a backbone.
        size: (width, height) of the network's input.
        reasons: one sentence for each choice.
    """

    task: Task
    losses: dict[str, float]
    recipe: str
    start: str | None
    size: tuple[int, int]
    reasons: tuple[str, ...]


def measure_softness(masks: Sequence[MaskFacts]) -> Softness | None:
    """The softness of a folder's masks; empty and full ones do not count. None if there are no others."""
    masks = [mask for mask in masks if not mask.empty and not mask.full]
    if not masks:
        return None
    return Softness(
        grey=median(mask.grey for mask in masks),
        edge=median(mask.edge for mask in masks),
        two_valued=median(mask.two_valued for mask in masks),
        soft=sum(mask.edge >= SOFT_EDGE for mask in masks) / len(masks),
    )


def advise(softness: Softness, sizes: Sequence[tuple[int, int]]) -> Advice:
    """Losses, recipe and size for a folder.

    Args:
        softness: of its masks.
        sizes: (width, height) of its pictures; at least one.
    """
    task, reasons = softness.task, []
    recipe, model = _RECIPES[task]
    reasons.append(
        {
            "segmentation": "the masks are hard, so the losses of segmentation fit; they would spoil a matting model",
            "matting": "the masks are soft, so the losses of matting fit; an IoU term would harden them",
            "mixed": "some masks are hard and some soft, so the losses of `general` fit; or split the folder",
        }[task]
    )
    start: str | None = None
    if len(sizes) < MANY:
        recipe, start = "finetune", model
        reasons.append(f"{len(sizes)} pairs are few: start from the released `{model}`")
    else:
        reasons.append(f"{len(sizes)} pairs are enough to train from a backbone; `finetune` is the faster way")
    size, reason = _choose_size(sizes)
    return Advice(task=task, losses=_LOSSES[task], recipe=recipe, start=start, size=size, reasons=(*reasons, reason))


def _choose_size(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], str]:
    """A size of the network's input (multiples of 32), and why."""
    longest = median(max(size) for size in sizes)
    side = 512 if longest < 700 else 1024
    reason = f"most pictures are about {longest:.0f} pixels long"
    if longest >= 2400:
        reason += "; fine detail may be worth `general_2k`, if the memory is there"
    aspects = sorted(width / height for width, height in sizes)
    usual = median(aspects)
    alike = sum(abs(math.log(aspect / usual)) < 0.1 for aspect in aspects) / len(aspects)
    if alike < 0.8 or abs(math.log(usual)) < 0.15:
        return (side, side), reason
    width, height = nearest_multiple(side * math.sqrt(usual)), nearest_multiple(side / math.sqrt(usual))
    return (width, height), f"{reason}, and {alike:.0%} of them have an aspect near {usual:.2f}"
