"""Metrics of boundaries: boundary IoU and the mean boundary accuracy. All in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from birefnet.evaluation import bits
from birefnet.evaluation.pair import Grey, Pair
from birefnet.evaluation.region import Curve, at_least

BAND_SHARE = 0.02  # width of the boundary band, as a share of the picture's diagonal
RADII = 5  # steps of the mean boundary accuracy
RADIUS_SHARE = 300  # its radii reach to (H + W) / 300 pixels
LEVEL = 128  # and its predictions are foreground above this, not stretched


def boundary_iou_curve(pair: Pair) -> Curve:
    """(256,) boundary IoU at each threshold (Cheng et al., CVPR 2021), of grey boundaries as the reference has them.

    A boundary is what an erosion by a square takes away; it reaches 2 % of the diagonal inwards, and the outside of
    the picture counts as background. The prediction's boundary is the grey difference, cut at each level.
    """
    reach = max(1, round(BAND_SHARE * (pair.height**2 + pair.width**2) ** 0.5))
    level = pair.levels[pair.prediction]
    band = level - _erode(level, reach)
    true = pair.foreground.view(np.uint8) - _erode(pair.foreground.view(np.uint8), reach) > 0
    both = at_least(np.bincount(band[true], minlength=256))
    union = at_least(np.bincount(band.ravel(), minlength=256)) + np.count_nonzero(true) - both
    return np.asarray(both / np.maximum(union, 1))


def mean_boundary_accuracy(pair: Pair) -> float | None:
    """mBA: share of right pixels near the truth's boundary, mean over five radii (Cheng et al., CVPR 2020).

    None, not defined, for a truth without a boundary: empty or full.
    """
    true, whole = bits.pack(pair.foreground), bits.full(pair.height, pair.width)
    right = whole & ~(bits.pack(pair.prediction > LEVEL) ^ true)
    disks = [_disk(radius) for radius in boundary_radii(pair.height, pair.width)]
    shares = []
    for inwards, outwards in zip(
        bits.dilate_disks(whole & ~true, whole, disks), bits.dilate_disks(true, whole, disks), strict=True
    ):
        near = inwards & outwards
        number = bits.count(near)
        if number == 0:
            return None
        shares.append(bits.count(near & right) / number)
    return sum(shares) / len(shares)


def boundary_radii(height: int, width: int) -> list[int]:
    """The five radii, in pixels, from 1 up to almost (H + W) / 300."""
    largest = (height + width) / RADIUS_SHARE
    return [1 + int((largest - 1) / RADII * step) for step in range(RADII)]


def _disk(radius: int) -> list[int]:
    """How far the rows of a disk reach sideways, from its middle row outwards."""
    return [round(math.sqrt(radius * radius - row * row)) for row in range(radius + 1)]


def _erode(grey: Grey, reach: int) -> NDArray[np.uint8]:
    """Least value in the square of side 2 reach + 1 around each pixel; outside of the picture it is 0."""
    padded = np.pad(grey, reach)
    for axis, length in enumerate(grey.shape):
        padded = _windows(padded, 2 * reach + 1, length, axis)
    return padded


def _windows(grey: Grey, window: int, length: int, axis: int) -> Grey:
    grey = np.moveaxis(grey, axis, 0)
    done = 1
    while done < window:
        step = min(done, window - done)
        grey = np.minimum(grey[: len(grey) - step], grey[step:])
        done += step
    assert len(grey) == length
    return np.moveaxis(grey, 0, axis)
