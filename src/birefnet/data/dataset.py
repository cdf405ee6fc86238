"""The stream of training samples: sample number n depends on the seed and n alone.

So a run that stops after n samples goes on with sample n, whatever the number of workers, and
nothing about the order needs to be saved but n.

Legend: S side of the square sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from birefnet.data import augment
from birefnet.data.augment import Array
from birefnet.data.pairs import find_pairs, find_pictures
from birefnet.data.synthesis import branching, compose, cut, plain_background
from birefnet.errors import ConfigError, DataError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One folder of a mixture.

    Attributes:
        folder: path below the data root; pairs need `im` and `gt` inside, cut-outs and backgrounds are plain folders.
        weight: how often it is drawn, relative to its neighbours; 0 leaves it out.
        only: stems to take; None takes all.
        cut: for pairs, whether the masks are good enough to cut subjects out for composites.
    """

    folder: str
    weight: float = 1.0
    only: tuple[str, ...] | None = None
    cut: bool = False

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"The weight of `{self.folder}` is {self.weight}; it must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a run trains on.

    Attributes:
        root: folder that holds all sources.
        pairs, cutouts, backgrounds: the sources of each kind.
        composite: chance that a sample is a composite of cut-outs on a background; the rest are real pairs.
        drawn: chance that a composite's subject is a drawn plant or filigree.
        empty: chance that a sample is a background alone with an empty mask.
        zoom: least side of a random crop as a part of the picture's.
        longest: side to which cached pictures are reduced.
    """

    root: str
    pairs: tuple[Source, ...] = ()
    cutouts: tuple[Source, ...] = ()
    backgrounds: tuple[Source, ...] = ()
    composite: float = 0.0
    drawn: float = 0.0
    empty: float = 0.0
    zoom: float = 0.7
    longest: int = 640

    def __post_init__(self) -> None:
        for name in ("composite", "drawn", "empty"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"`data.{name}` is {getattr(self, name)}; it is a chance between 0 and 1")
        if not 0 < self.zoom <= 1:
            raise ConfigError(f"`data.zoom` is {self.zoom}; it must lie above 0 and not above 1")
        if not self.pairs and self.composite < 1:
            raise ConfigError("`data.pairs` is empty; add folders with `im` and `gt`, or set `data.composite` to 1")
        if self.composite > 0 and not (self.cutouts or any(source.cut for source in self.pairs)):
            raise ConfigError("`data.composite` is above 0 but there are neither `data.cutouts` nor pairs to cut from")


@dataclass(slots=True)
class Library:
    """All pictures of a mixture, decoded once and kept in memory; forked workers share it.

    Every list holds (weight, items) per source.
    """

    pairs: list[tuple[float, list[tuple[Array, Array]]]] = field(default_factory=list)
    cuttable: list[tuple[float, list[tuple[Array, Array]]]] = field(default_factory=list)
    cutouts: list[tuple[float, list[Array]]] = field(default_factory=list)
    backgrounds: list[tuple[float, list[Array]]] = field(default_factory=list)

    @classmethod
    def load(cls, config: DataConfig) -> Library:
        """Read everything that `config` names.

        Raises:
            DataError: if a folder, a partner or a stem is missing, or a file cannot be read.
        """
        root, library = Path(config.root), cls()
        for source in _drawn(config.pairs):
            found = find_pairs(root / source.folder, source.only)
            loaded = [(_read(p.picture, "RGB", config.longest), _read(p.mask, "L", config.longest)) for p in found]
            loaded = [(picture, _fit(mask, picture)) for picture, mask in loaded]
            library.pairs.append((source.weight, loaded))
            if source.cut:
                library.cuttable.append((source.weight, loaded))
        for source in _drawn(config.cutouts):
            paths = find_pictures(root / source.folder, source.only)
            library.cutouts.append((source.weight, [_read(path, "RGBA", config.longest) for path in paths]))
        for source in _drawn(config.backgrounds):
            paths = find_pictures(root / source.folder, source.only)
            library.backgrounds.append((source.weight, [_read(path, "RGB", config.longest) for path in paths]))
        return library


def _drawn(sources: tuple[Source, ...]) -> Iterator[Source]:
    return (source for source in sources if source.weight > 0)


def _read(path: Path, mode: str, longest: int) -> Array:
    try:
        with Image.open(path) as image:
            picture = image.convert(mode)
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error}") from error
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _fit(mask: Array, picture: Array) -> Array:
    return mask if mask.shape == picture.shape[:2] else augment.resize(mask, (picture.shape[1], picture.shape[0]))


class Mixture:
    """Makes sample `n` of a stream: picture (S, S, 3) and mask (S, S), uint8."""

    def __init__(self, library: Library, config: DataConfig, seed: int) -> None:
        self.library = library
        self.config = config
        self.seed = seed

    def sample(self, number: int, side: int) -> tuple[Array, Array]:
        """Sample `number` at `side` x `side`; the same arguments give the same arrays."""
        rng = np.random.default_rng((self.seed, number))
        kind = rng.random()
        if kind < self.config.empty:
            picture, mask = self._background(rng, side), np.zeros((side, side), np.uint8)
        elif kind < self.config.empty + self.config.composite:
            picture, mask = compose(rng, self._background(rng, side), self._cutouts(rng, side))
        else:
            picture, mask = self._real(rng, side)
        if rng.random() < 0.5:
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        picture = augment.degrade(rng, augment.jitter_colours(rng, picture))
        return np.array(picture), np.array(mask)  # copies: flips are views, Pillow's arrays read-only

    def _real(self, rng: np.random.Generator, side: int) -> tuple[Array, Array]:
        picture, mask = _draw(rng, self.library.pairs)
        box = augment.crop_box(rng, mask, self.config.zoom)
        picture, mask = augment.resize(picture, (side, side), box), augment.resize(mask, (side, side), box)
        if rng.random() < 0.3:
            picture, mask = augment.rotate(picture, mask, float(rng.normal(0, 8)))
        return picture, mask

    def _background(self, rng: np.random.Generator, side: int) -> Array:
        choice = rng.random()
        if choice < 0.12 or not (self.library.backgrounds or self.library.pairs):
            return plain_background(rng, side)
        if choice < 0.4 and self.library.pairs:
            picture, mask = _draw(rng, self.library.pairs)
            box = augment.free_box(rng, mask)
            if box is not None:
                return self._soften(rng, augment.resize(picture, (side, side), box))
        if not self.library.backgrounds:
            return plain_background(rng, side)
        picture = _draw(rng, self.library.backgrounds)
        box = augment.crop_box(rng, np.full(picture.shape[:2], 255, np.uint8), 0.3, keep=0.0)
        return self._soften(rng, augment.resize(picture, (side, side), box))

    @staticmethod
    def _soften(rng: np.random.Generator, picture: Array) -> Array:
        """Some backgrounds out of focus, by reducing and enlarging: far cheaper than a wide Gaussian."""
        if rng.random() < 0.35:
            side = picture.shape[0]
            low = int(side / rng.uniform(3, 14))
            picture = augment.resize(augment.resize(picture, (low, low)), (side, side))
        return picture[:, ::-1] if rng.random() < 0.5 else picture

    def _cutouts(self, rng: np.random.Generator, side: int) -> list[Array]:
        count = 1 + int(rng.random() < 0.22) + int(rng.random() < 0.08)
        return [self._cutout(rng, side) for _ in range(count)]

    def _cutout(self, rng: np.random.Generator, side: int) -> Array:
        choice = rng.random()
        if choice < self.config.drawn:
            return branching(rng, side)
        if self.library.cuttable and (choice < self.config.drawn + 0.22 or not self.library.cutouts):
            return cut(*_draw(rng, self.library.cuttable))
        return _draw(rng, self.library.cutouts)


def _draw(rng: np.random.Generator, sources: list[tuple[float, list[T]]]) -> T:
    weights = np.array([weight for weight, _ in sources])
    items = sources[int(rng.choice(len(sources), p=weights / weights.sum()))][1]
    return items[int(rng.integers(len(items)))]


def parse_sources(entries: Mapping[str, object] | None) -> tuple[Source, ...]:
    """Sources from a recipe's mapping: `folder: weight` or `folder: {weight, only, cut}`.

    Raises:
        ConfigError: on anything else.
    """
    sources = []
    for folder, value in (entries or {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            sources.append(Source(folder=folder, weight=float(value)))
        elif isinstance(value, Mapping) and set(value) <= {"weight", "only", "cut"}:
            options = dict(value)
            if options.get("only") is not None:
                options["only"] = tuple(str(stem) for stem in options["only"])
            sources.append(Source(folder=folder, **options))
        else:
            raise ConfigError(f"`{folder}` in the recipe's data is {value!r}; write a weight, or weight, only and cut")
    return tuple(sources)
