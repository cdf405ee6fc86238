"""A mixture: every sample is drawn anew from weighted sources of pairs, cut-outs and backgrounds.

So a run that stops after n samples goes on with sample n, whatever the number of workers, and
nothing about the order needs to be saved but n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from birefnet.data import augment
from birefnet.data.augment import Array
from birefnet.data.config import DataConfig
from birefnet.data.library import Library
from birefnet.data.stream import Sample, Size, as_size
from birefnet.data.styles import STYLES, Pixels, change_pair, mirror
from birefnet.data.synthesis import branching, compose, cut, join, plain_background

T = TypeVar("T")


class Mixture:
    """Makes sample `n` of a mixture; a `Stream`."""

    class_names: tuple[str, ...] = ()  # a composite has no one class

    def __init__(self, library: Library, config: DataConfig, seed: int) -> None:
        self.library = library
        self.config = config
        self.seed = seed

    @property
    def epoch_length(self) -> int:
        """Number of pairs; of cut-outs, where there are no pairs."""
        shelves = self.library.pairs or self.library.cutouts
        return sum(len(shelf) for _, shelf in shelves)

    def sample(self, number: int, size: Size) -> Sample:
        """Sample `number` at `size`: (width, height) or a side; the same arguments give the same arrays."""
        rng, size = np.random.default_rng((self.seed, number)), as_size(size)
        kind = rng.random()
        if kind < self.config.empty:
            picture, mask = self._background(rng, size), np.zeros(size[::-1], np.uint8)
        elif kind < self.config.empty + self.config.composite:
            picture, mask = self._composite(rng, size)
        else:
            pair = _draw(rng, self.library.pairs)
            picture, mask = change_pair(rng, *pair, size, self.config, self._background)
            return Sample(np.array(picture), np.array(mask))
        picture, mask = mirror(rng, picture, mask, self.config.augment.flip)
        picture = STYLES[self.config.style].look(rng, picture, self.config)
        return Sample(np.array(picture), np.array(mask))  # copies: flips are views, Pillow's arrays read-only

    def _composite(self, rng: np.random.Generator, size: Pixels) -> tuple[Array, Array]:
        """Cut-outs on a background, or on a real picture whose own subject counts too."""
        # Nothing is drawn where the chance is 0: the samples of recipes without these keys stay as they were.
        if self.config.pasted and rng.random() < self.config.pasted:
            pair = _draw(rng, self.library.pairs)
            picture, own = STYLES[self.config.style].shape(rng, *pair, size, self.config)
            picture, mask = compose(rng, picture, self._cutouts(rng, size))
            return picture, np.maximum(mask, own)
        background = self._background(rng, size)
        if self.config.joined and rng.random() < self.config.joined:
            background = join(rng, background, self._background(rng, size))
        return compose(rng, background, self._cutouts(rng, size))

    def _background(self, rng: np.random.Generator, size: Pixels) -> Array:
        choice = rng.random()
        if choice < 0.12 or not (self.library.backgrounds or self.library.pairs):
            return plain_background(rng, size)
        if choice < 0.4 and self.library.pairs:
            picture, mask = _draw(rng, self.library.pairs)
            box = augment.free_box(rng, mask)
            if box is not None:
                return soften(rng, augment.resize(picture, size, box))
        if not self.library.backgrounds:
            return plain_background(rng, size)
        return draw_background(rng, self.library, size)

    def _cutouts(self, rng: np.random.Generator, size: Pixels) -> list[Array]:
        count = 1 + int(rng.random() < 0.22) + int(rng.random() < 0.08)
        return [self._cutout(rng, size) for _ in range(count)]

    def _cutout(self, rng: np.random.Generator, size: Pixels) -> Array:
        choice = rng.random()
        if choice < self.config.drawn:
            return branching(rng, max(size))
        if self.library.cuttable and (choice < self.config.drawn + 0.22 or not self.library.cutouts):
            return cut(*_draw(rng, self.library.cuttable))
        return _draw(rng, self.library.cutouts)


def draw_background(rng: np.random.Generator, library: Library, size: Pixels) -> Array:
    """A random part of one of the library's backgrounds at `size` (width, height), sometimes out of focus."""
    picture = _draw(rng, library.backgrounds)
    box = augment.crop_box(rng, np.full(picture.shape[:2], 255, np.uint8), 0.3, keep=0.0)
    return soften(rng, augment.resize(picture, size, box))


def soften(rng: np.random.Generator, picture: Array) -> Array:
    """Some backgrounds out of focus, by reducing and enlarging: far cheaper than a wide Gaussian."""
    if rng.random() < 0.35:
        height, width = picture.shape[:2]
        factor = rng.uniform(3, 14)
        low = (max(1, int(width / factor)), max(1, int(height / factor)))
        picture = augment.resize(augment.resize(picture, low), (width, height))
    return picture[:, ::-1] if rng.random() < 0.5 else picture


def _draw(rng: np.random.Generator, sources: Sequence[tuple[float, Sequence[T]]]) -> T:
    weights = np.array([weight for weight, _ in sources])
    items = sources[int(rng.choice(len(sources), p=weights / weights.sum()))][1]
    return items[int(rng.integers(len(items)))]
