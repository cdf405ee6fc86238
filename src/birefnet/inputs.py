"""What every network here takes: pictures of these sizes, normalised by these numbers."""

from __future__ import annotations

Triple = tuple[float, float, float]  # red, green, blue

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)  # of values in [0, 1]
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
MULTIPLE = 32  # of both sides, in pixels: the deepest features of every network here have stride 32


def nearest_multiple(side: float) -> int:
    """The positive multiple of 32 nearest to `side`; halfway between two, the even one."""
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
