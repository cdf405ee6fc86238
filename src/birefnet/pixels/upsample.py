"""Enlarging a coarse alpha along the picture's own edges: a fast guided filter that keeps what the network said.

He and Sun, "Fast Guided Filter", arXiv:1505.00996: inside each small window the alpha is taken as a linear function
of the colour, alpha = slopes . colour + offset. The slopes are found at the network's size, where it is cheap, and
enlarged smoothly. Here only the detail comes from them: what the full-size picture's colours add to those the network
saw, times the slopes, is added to the alpha. So nothing is smoothed away, and at the network's size nothing changes.
(Measured on true alphas brought to 384x384 and back, mean error against bilinear and the plain guided filter: fur
17.5, 18.7, 13.1; thin structures 87, 90, 56; people 39, 60, 36, all e-4.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet.pixels.strips import strips, workers

Plane = NDArray[np.floating[Any]]  # (h, w); float32 in, float32 out

RADIUS = 2.0  # of the window, in the network's pixels
EPSILON = 1e-4  # variance of colour (in [0, 1]) below which a window counts as flat


def guided_upsample(
    alpha: Plane,
    seen: NDArray[np.uint8],
    rgb: NDArray[np.uint8],
    *,
    radius: float = RADIUS,
    epsilon: float = EPSILON,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Alpha (h, w) in [0, 1] -> (H, W) in [0, 1], with the edges of the picture.

    Args:
        alpha: the network's, float32.
        seen: the picture at the alpha's size, (h, w, 3) uint8.
        rgb: the picture, (H, W, 3) uint8.
        radius: half the window's side less one half, in pixels of `alpha`; need not be whole.
        epsilon: larger is smoother, smaller follows weaker edges.
        threads: that may be used for the part at full size; None for the default.
    """
    slopes, offset = coefficients(alpha, seen, radius, epsilon)
    maps = [Image.fromarray(plane) for plane in (*slopes, offset)]
    height, width = rgb.shape[:2]
    out = np.empty((height, width), np.float32)

    def fill(rows: slice) -> None:
        _apply(maps, rgb[rows], rows, out)

    count = workers(threads)
    if count > 1:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(fill, strips(height, width)))
    else:
        for rows in strips(height, width):
            fill(rows)
    return out


def coefficients(alpha: Plane, seen: NDArray[np.uint8], radius: float, epsilon: float) -> tuple[list[Plane], Plane]:
    """Per pixel the three slopes and the offset of alpha = slopes . colour + offset, colour in 0..255 as stored.

    With the colours of `seen` this gives back the alpha.
    """
    # Centred on mid-grey, the products below keep more of float32's digits.
    guide = [np.ascontiguousarray(seen[..., c], np.float32) * np.float32(1 / 255) - np.float32(0.5) for c in range(3)]
    box = Box(alpha.shape[0], alpha.shape[1], radius)
    mean = [box(channel) for channel in guide]
    mean_alpha = box(alpha)
    shared = [box(channel * alpha) - m * mean_alpha for channel, m in zip(guide, mean, strict=True)]
    spread = {
        (i, j): box(guide[i] * guide[j]) - mean[i] * mean[j] for i, j in combinations_with_replacement(range(3), 2)
    }
    for i in range(3):
        spread[i, i] += np.float32(epsilon)
    slopes = [box(slope) * np.float32(1 / 255) for slope in solve(spread, shared)]
    offset = alpha.copy()
    for c, slope in enumerate(slopes):
        offset -= slope * seen[..., c]
    return slopes, offset


def solve(matrix: Mapping[tuple[int, int], Plane], right: Sequence[Plane]) -> list[Plane]:
    """Solve one symmetric positive definite 3x3 system per pixel.

    By elimination with square-root-free pivots (LDL^T): the closed form by determinants loses all digits in float32
    where the three colours rise together, which is what edges in grey do.
    """
    d0 = matrix[0, 0]
    l10, l20 = matrix[0, 1] / d0, matrix[0, 2] / d0
    d1 = matrix[1, 1] - l10 * matrix[0, 1]
    rest = matrix[1, 2] - l20 * matrix[0, 1]
    l21 = rest / d1
    d2 = matrix[2, 2] - l20 * matrix[0, 2] - l21 * rest
    y0 = right[0]
    y1 = right[1] - l10 * y0
    y2 = right[2] - l20 * y0 - l21 * y1
    x2 = y2 / d2
    x1 = y1 / d1 - l21 * x2
    x0 = y0 / d0 - l10 * x1 - l20 * x2
    return [x0, x1, x2]


class Box:
    """The mean over a square window, cut off at the border; windows need not have a whole number of pixels.

    Direct sums, not running ones: the window is small, and float32 running sums would drown the variances.
    """

    def __init__(self, height: int, width: int, radius: float) -> None:
        self.whole = int(radius)
        self.rest = np.float32(radius - self.whole)  # the weight of the two outermost pixels
        ones = [np.ones(n, np.float32) for n in (height, width)]
        rows, columns = (self._sums(line[:, None]) for line in ones)
        self.share = 1 / (rows * columns.T)  # (height, width)

    def __call__(self, plane: Plane) -> Plane:
        """(h, w) float32 -> its means, (h, w) float32."""
        sums = self._sums(np.ascontiguousarray(self._sums(plane).T)).T
        return sums * self.share

    def _sums(self, plane: Plane) -> Plane:
        """Sums over the window along the rows' axis (axis 0)."""
        height = len(plane)
        out = plane.copy()
        for step in range(1, min(self.whole, height - 1) + 1):
            out[step:] += plane[:-step]
            out[:-step] += plane[step:]
        step = self.whole + 1
        if self.rest and step < height:
            out[step:] += self.rest * plane[:-step]
            out[:-step] += self.rest * plane[step:]
        return out


def _apply(maps: list[Image.Image], rgb: NDArray[np.uint8], rows: slice, out: NDArray[np.float32]) -> None:
    """Enlarge the coefficients over some rows of the picture and write the alpha there."""
    height, width = rgb.shape[:2]
    scale = maps[0].height / len(out)
    box = (0, rows.start * scale, maps[0].width, rows.stop * scale)
    *slopes, alpha = (np.asarray(m.resize((width, height), Image.Resampling.BILINEAR, box=box)) for m in maps)
    alpha = alpha.copy()  # Pillow's buffer is read-only
    for c, slope in enumerate(slopes):
        alpha += slope * rgb[..., c]
    np.clip(alpha, 0, 1, out=out[rows])
