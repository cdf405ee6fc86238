"""Epochs: every pair exactly once, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import numpy as np

from birefnet.data.config import DataConfig
from birefnet.data.library import Library
from birefnet.data.mixture import draw_background
from birefnet.data.stream import Sample, Size, as_size
from birefnet.data.styles import Pixels, change_pair
from birefnet.errors import DataError, shortened

_ORDER = 0x0DE4  # keeps the draws of the order apart from those of the samples


class Epochs:
    """Sample n is pair number n of the endless row of epochs, changed by draws that depend on n; a `Stream`.

    Raises:
        DataError: with `config.classes`, if a file's name tells no class.
    """

    def __init__(self, library: Library, config: DataConfig, seed: int) -> None:
        self.library, self.config, self.seed = library, config, seed
        self.places = [(shelf, index) for _, shelf in library.pairs for index in range(len(shelf))]
        self.class_names, self.labels = (), list[int]()
        if config.classes:
            stems = [shelf.keys[index].picture.stem for shelf, index in self.places]
            self.class_names, self.labels = read_classes(stems)
        self._shuffled = -1, np.empty(0, np.int64)  # the epoch that was asked for last, and its order

    class_names: tuple[str, ...]

    @property
    def epoch_length(self) -> int:
        """Number of pairs."""
        return len(self.places)

    def order(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The pairs' numbers in the order of that epoch."""
        if self._shuffled[0] != epoch:
            shuffled = np.random.default_rng((_ORDER, self.seed, epoch)).permutation(len(self.places))
            self._shuffled = epoch, shuffled
        return self._shuffled[1]

    def sample(self, number: int, size: Size) -> Sample:
        """Sample `number` at `size`: (width, height) or a side; the same arguments give the same arrays."""
        rng = np.random.default_rng((self.seed, number))
        epoch, place = divmod(number, len(self.places))
        chosen = int(self.order(epoch)[place])
        shelf, index = self.places[chosen]
        picture, mask = change_pair(rng, *shelf[index], as_size(size), self.config, self._background)
        label = self.labels[chosen] if self.labels else None
        return Sample(np.array(picture), np.array(mask), label)  # copies: flips are views, Pillow's arrays read-only

    def _background(self, rng: np.random.Generator, size: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return draw_background(rng, self.library, size)


def read_classes(stems: list[str]) -> tuple[tuple[str, ...], list[int]]:
    """The sorted names of all classes, and the class of each file, from names such as `1#Accessories#4#Ring#9067`.

    DIS5K's names are `group number#group#class number#class#photo`.

    Raises:
        DataError: listing the names that tell no class.
    """
    parts = [stem.split("#") for stem in stems]
    without = [stem for stem, found in zip(stems, parts, strict=True) if len(found) < 5 or not found[3]]
    if without:
        raise DataError(
            "`data.classes` needs DIS5K's file names (1#Group#2#Class#photo); "
            f"these tell no class: {shortened(without)}",
            hint="set `data.classes: false` to train without the auxiliary classification",
        )
    names = tuple(sorted({found[3] for found in parts}))
    index = {name: number for number, name in enumerate(names)}
    return names, [index[found[3]] for found in parts]
