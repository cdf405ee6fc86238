"""The reference's random changes, each a pure function of its random generator.

What they do and how much is in the reference's recipes: mirror images, turns, Pillow's four enhancements, pepper, crops
near the centre, and plain backgrounds. They work on samples that already have their size, as there.

Legend: H, W size of the sample. Pictures are uint8 RGB (H, W, 3), masks uint8 (H, W) with 255 for the subject.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

from birefnet.data.augment import Array, Box
from birefnet.data.config import AugmentConfig

_NEAR = 32  # levels by which a background's colour may leave the subject's mean


def central_box(rng: np.random.Generator, size: tuple[int, int], smallest: float) -> Box:
    """A random rectangle (left, top, right, bottom) of a picture of `size` (width, height), near its centre.

    Args:
        rng: source of randomness.
        size: (width, height).
        smallest: least side of the rectangle, as a part of the picture's.
    """
    low, high = [], []
    for side in size:
        length = side * rng.uniform(smallest, 1)
        # The mean of two even draws is likeliest in the middle.
        start = (side - length) * (rng.random() + rng.random()) / 2
        low.append(start)
        high.append(start + length)
    return low[0], low[1], high[0], high[1]


def turn(rng: np.random.Generator, picture: Array, mask: Array, degrees: float) -> tuple[Array, Array]:
    """Both turned about the centre by up to `degrees` to either side, bicubic; what comes in is black."""
    angle = rng.uniform(-degrees, degrees)
    turned, turned_mask = (
        np.asarray(Image.fromarray(np.ascontiguousarray(array)).rotate(angle, Image.Resampling.BICUBIC))
        for array in (picture, mask)
    )
    return turned, turned_mask


def enhance(rng: np.random.Generator, picture: Array, config: AugmentConfig) -> Array:
    """Brightness, contrast, colour and sharpness, each by a factor drawn from its range in `config`."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    for kind, (low, high) in (
        (ImageEnhance.Brightness, config.brightness),
        (ImageEnhance.Contrast, config.contrast),
        (ImageEnhance.Color, config.colour),
        (ImageEnhance.Sharpness, config.sharpness),
    ):
        factor = rng.uniform(low, high)
        if factor != 1:
            image = kind(image).enhance(factor)
    return np.asarray(image)


def pepper(rng: np.random.Generator, picture: Array, part: float) -> Array:
    """That part of all pixels made black or white, evenly; a pixel may be drawn twice."""
    height, width = picture.shape[:2]
    count = int(part * height * width)
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    out = picture.copy()
    out[rows, columns] = (rng.integers(0, 2, count) * 255).astype(np.uint8)[:, None]
    return out


def plain_colour(rng: np.random.Generator, picture: Array, mask: Array) -> Array:
    """The colour of a plain background, (3,) uint8: 40 % grey, 40 % near the subject's mean colour, 20 % any."""
    choice = rng.random()
    if choice < 0.4:
        return np.full(3, rng.integers(0, 256), np.uint8)
    if choice < 0.8:
        weights = mask.astype(np.float64)
        mean = np.tensordot(weights, picture, 2) / max(1.0, float(weights.sum()))
        return np.asarray(np.clip(mean + rng.uniform(-_NEAR, _NEAR, 3), 0, 255), np.uint8)
    return rng.integers(0, 256, 3).astype(np.uint8)


def before(picture: Array, mask: Array, background: Array) -> Array:
    """The subject of `picture` before another background: an array that broadcasts to (H, W, 3)."""
    alpha = mask.astype(np.float32)[..., None] / np.float32(255)
    mixed = background + (picture.astype(np.float32) - background) * alpha
    return np.asarray(mixed + np.float32(0.5), np.uint8)
