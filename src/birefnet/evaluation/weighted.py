"""The weighted F-measure: errors next to the truth's edge, and far from the truth, count differently."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.evaluation.pair import Mask, Pair
from birefnet.evaluation.region import EPSILON

Map = NDArray[np.float32]  # (H, W)

REACH = 3  # pixels from the centre of the 7x7 window to its sides
SPREAD = 5.0  # standard deviation of the window's Gaussian, in pixels
HALVING = 5.0  # over this many pixels the extra weight of a far false positive gets half way to its end


def weighted_f(pair: Pair) -> float:
    """Weighted F-measure, beta^2 = 1 (Margolin et al., CVPR 2014); 0 for an empty truth.

    A missed pixel is forgiven as far as the errors around it are small; a false one weighs 1 at the truth's edge and
    up to 2 far from it.
    """
    cv2 = require("cv2", "evaluate")
    number = int(pair.inside.sum())
    if number == 0:
        return 0.0
    truth = pair.foreground.astype(np.float32)
    error: Map = cv2.absdiff(cv2.LUT(pair.prediction, pair.stretched.astype(np.float32)), truth)
    ground = (~pair.foreground).view(np.uint8)
    distance: Map = cv2.distanceTransform(ground, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    rows, columns = np.nonzero((distance > 0) & (distance < math.sqrt(2) * (REACH + 0.5)))
    squared = np.rint(distance[rows, columns] ** 2).astype(np.uint8)
    # The weight of a false pixel is 2 - nearness; of a true one, at distance 0, the sum takes the whole error off.
    nearness = np.exp(np.multiply(distance, np.float32(math.log(0.5) / HALVING), out=distance), out=distance)
    true_error = float(pair.inside @ (1 - pair.stretched))
    false = 2 * float(pair.outside @ pair.stretched) - (_product(error, nearness) - true_error)
    _spread(error, pair.foreground, (rows, columns), squared)
    offsets = np.arange(-REACH, REACH + 1)
    window = np.exp(-(offsets**2) / (2 * SPREAD**2))
    window /= window.sum()
    smooth: Map = cv2.sepFilter2D(error, cv2.CV_32F, window, window, borderType=cv2.BORDER_CONSTANT)
    missed = _product(np.minimum(error, smooth, out=smooth), truth)
    recall = 1 - missed / number
    precision = (number - missed) / (number - missed + false + EPSILON)
    return 2 * recall * precision / (recall + precision + EPSILON)


def _product(a: Map, b: Map) -> float:
    """Sum of the products; single precision along a row, double over the rows."""
    return float(np.einsum("ij,ij->i", a, b).sum(dtype=np.float64))


def _spread(
    error: Map, foreground: Mask, ring: tuple[NDArray[np.intp], NDArray[np.intp]], squared: NDArray[np.uint8]
) -> None:
    """Give the background pixels that windows around foreground reach the error of their nearest foreground pixel.

    Of several nearest ones the leftmost is taken, then the topmost.

    Args:
        error: (H, W), changed in place.
        foreground: (H, W).
        ring: rows and columns of the pixels to change.
        squared: their squared distances from the foreground.
    """
    margin = math.isqrt(int(squared.max(initial=0)))
    padded = np.pad(foreground, margin).ravel()
    width = error.shape[1]
    flat = error.ravel()
    rows, columns = ring
    for value in np.flatnonzero(np.bincount(squared)):
        here = np.flatnonzero(squared == value)
        places, wide = rows[here] * width + columns[here], (rows[here] + margin) * (width + 2 * margin) + columns[here]
        for dx, dy in _offsets(int(value)):
            hit = padded[wide + (dy * (width + 2 * margin) + dx + margin)]
            to = places[hit]
            flat[to] = flat[to + (dy * width + dx)]
            places, wide = places[~hit], wide[~hit]
        assert not places.size, "a nearest pixel is not at its distance"


def _offsets(squared: int) -> list[tuple[int, int]]:
    """The offsets (dx, dy) of this squared length, leftmost first, then topmost."""
    reach = range(-math.isqrt(squared), math.isqrt(squared) + 1)
    return [(dx, dy) for dx in reach for dy in reach if dx * dx + dy * dy == squared]
