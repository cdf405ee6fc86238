"""From a pair of any size to a sample of the size asked for: which changes are made, and in which order.

A style is two functions: one changes the shape of picture and mask together, one the look of the picture alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from birefnet.data import augment, enhance
from birefnet.data.augment import Array
from birefnet.data.config import DataConfig

Rng = np.random.Generator
Pixels = tuple[int, int]  # (width, height)


class Style(NamedTuple):
    """How pairs are changed.

    Attributes:
        shape: (rng, picture, mask, size, config) -> picture (H, W, 3) and mask (H, W) at `size`.
        look: (rng, picture, config) -> picture of the same size.
    """

    shape: Callable[[Rng, Array, Array, Pixels, DataConfig], tuple[Array, Array]]
    look: Callable[[Rng, Array, DataConfig], Array]


def change_pair(
    rng: Rng,
    picture: Array,
    mask: Array,
    size: Pixels,
    config: DataConfig,
    draw_background: Callable[[Rng, Pixels], Array],
) -> tuple[Array, Array]:
    """A pair as a sample of `size` (width, height), changed as `config` says.

    Args:
        rng: source of randomness.
        picture, mask: (H, W, 3) and (H, W) of any size.
        size: of the sample.
        config: which changes, how often.
        draw_background: makes a background (height, width, 3) of a size.
    """
    style, chances = STYLES[config.style], config.augment
    # Drawn only where it matters, so that a recipe without other backgrounds keeps its samples.
    choice = rng.random() if chances.plain + chances.background > 0 else 1.0
    if choice < chances.plain:
        picture, mask = whole(picture, mask, size)
        picture = enhance.before(picture, mask, enhance.plain_colour(rng, picture, mask))
        return mirror(rng, picture, mask, chances.flip)
    if choice < chances.plain + chances.background:
        picture, mask = whole(picture, mask, size)
        picture = enhance.before(picture, mask, draw_background(rng, size))
    picture, mask = style.shape(rng, picture, mask, size, config)
    picture, mask = mirror(rng, picture, mask, chances.flip)
    return style.look(rng, picture, config), mask


def whole(picture: Array, mask: Array, size: Pixels) -> tuple[Array, Array]:
    """All of the pair at `size`, resized as inference does."""
    return augment.resize(picture, size), augment.resize(mask, size)


def mirror(rng: Rng, picture: Array, mask: Array, chance: float) -> tuple[Array, Array]:
    """Both, mirrored with that chance."""
    return (picture[:, ::-1], mask[:, ::-1]) if rng.random() < chance else (picture, mask)


def _strong_shape(rng: Rng, picture: Array, mask: Array, size: Pixels, config: DataConfig) -> tuple[Array, Array]:
    box = augment.crop_box(rng, mask, config.zoom)
    picture, mask = augment.resize(picture, size, box), augment.resize(mask, size, box)
    if rng.random() < 0.3:
        picture, mask = augment.rotate(picture, mask, float(rng.normal(0, 8)))
    return picture, mask


def _strong_look(rng: Rng, picture: Array, config: DataConfig) -> Array:
    return augment.degrade(rng, augment.jitter_colours(rng, picture))


def _reference_shape(rng: Rng, picture: Array, mask: Array, size: Pixels, config: DataConfig) -> tuple[Array, Array]:
    chances, box = config.augment, None
    if rng.random() < chances.crop:
        box = enhance.central_box(rng, (picture.shape[1], picture.shape[0]), chances.crop_smallest)
    picture, mask = augment.resize(picture, size, box), augment.resize(mask, size, box)
    if rng.random() < chances.rotate:
        picture, mask = enhance.turn(rng, picture, mask, chances.degrees)
    return picture, mask


def _reference_look(rng: Rng, picture: Array, config: DataConfig) -> Array:
    if rng.random() < config.augment.enhance:
        picture = enhance.enhance(rng, picture, config.augment)
    return enhance.pepper(rng, picture, config.augment.pepper)


STYLES = {
    "strong": Style(_strong_shape, _strong_look),
    "reference": Style(_reference_shape, _reference_look),
}
