"""All pictures of a run: found, checked, and decoded once and kept, or read when they are asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
from PIL import Image

from birefnet.data.augment import Array, resize
from birefnet.data.budget import Planned, available_memory, choose_kept, decoded_bytes
from birefnet.data.config import DataConfig, Source
from birefnet.data.facts import measure_mask
from birefnet.data.masks import read_mask
from birefnet.data.pairs import Pair, find_all_pairs, find_pictures, raise_all, set_folders
from birefnet.data.reading import misfit, read_header, read_rgb, read_rgba, sizes_fit
from birefnet.errors import DataError, shortened

log = logging.getLogger(__name__)

Key = TypeVar("Key")
Item = TypeVar("Item")
Masked = tuple[Array, Array]  # picture (H, W, 3) and mask (H, W)

_FEW = 3  # masks of a source that may look inverted whatever their share


class Shelf(Sequence[Item], Generic[Key, Item]):
    """Pictures by index: those that are kept, and the others read anew each time.

    Attributes:
        keys: the files.
        kept: decoded items by index. Forked workers share their memory.
    """

    def __init__(self, keys: Sequence[Key], read: Callable[[Key], Item]) -> None:
        self.keys = keys
        self.kept: dict[int, Item] = {}
        self.read = read

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.kept[index] if index in self.kept else self.read(self.keys[index])


Weighted = list[tuple[float, Shelf[Key, Item]]]


@dataclass(slots=True)
class Library:
    """The pictures of a run by kind; every list holds (weight, shelf) per source."""

    pairs: Weighted[Pair, Masked] = field(default_factory=list)
    cuttable: Weighted[Pair, Masked] = field(default_factory=list)
    cutouts: Weighted[Path, Array] = field(default_factory=list)
    backgrounds: Weighted[Path, Array] = field(default_factory=list)

    @classmethod
    def load(cls, config: DataConfig, processes: int = 1, available: int | None = None) -> Library:
        """Find and check everything that `config` names, and decode what `config.cache` lets it keep.

        Args:
            config: what to read.
            processes: how many processes of this machine load a library of their own.
            available: bytes of memory free for all of them; None asks the system.

        Raises:
            DataError: one error that lists all folders, partners and stems that are missing; or one that lists all
                files that cannot be read, masks that are no masks, pairs whose sizes do not fit, and sources most of
                whose masks look inverted; or if the pictures would not fit into memory.
        """
        library = cls._find(config)
        problems, planned = library._plan(config.longest)
        kept = choose_kept(planned, config, processes, available_memory() if available is None else available)
        problems += _fill(kept)
        problems += library._bad_masks(_numbers(kept), _numbers(planned))
        if not config.allow_inverted:
            problems += [text for _, shelf in library.pairs for text in _inverted(shelf)]
        raise_all(problems)
        return library

    @classmethod
    def _find(cls, config: DataConfig) -> Library:
        library, root = cls(), Path(config.root)
        problems = library._find_pairs(config, root)
        for sources, mode, shelves in (
            (config.cutouts, "RGBA", library.cutouts),
            (config.backgrounds, "RGB", library.backgrounds),
        ):
            for source in _drawn(sources):
                try:
                    paths = find_pictures(root / source.folder, source.only)
                    shelves.append((source.weight, Shelf(paths, partial(_read, mode=mode, longest=config.longest))))
                except DataError as error:
                    problems.append(str(error))
        raise_all(problems)
        return library

    def _find_pairs(self, config: DataConfig, root: Path) -> list[str]:
        """Fill `pairs` and `cuttable` with shelves; returns what is missing."""
        sources = list(_drawn(config.pairs))
        folders = [root / source.folder for source in sources]
        try:
            if config.sets is not None:
                folders = set_folders(root, config.sets, config.task)
                sources = [Source(folder=str(folder)) for folder in folders]
            found = find_all_pairs([(folder, s.only) for folder, s in zip(folders, sources, strict=True)])
        except DataError as error:
            return [str(error)]
        for source, pairs in zip(sources, found, strict=True):
            shelf = Shelf(pairs, partial(read_pair, longest=config.longest))
            # Sets are joined: every pair of them is as likely as any other.
            self.pairs.append((float(len(pairs)) if config.sets is not None else source.weight, shelf))
            if source.cut:
                self.cuttable.append((source.weight, shelf))
        return []

    def shelves(self) -> Iterator[Shelf[Any, Any]]:
        """Every shelf once."""
        return (shelf for kind in (self.pairs, self.cutouts, self.backgrounds) for _, shelf in kind)

    def _plan(self, longest: int | None) -> tuple[list[str], list[Planned]]:
        """By the files' headers: what is no picture or does not fit its mask, and the bytes that all others need."""
        items = [(shelf, index) for shelf in self.shelves() for index in range(len(shelf))]
        problems, planned = [], []
        for (shelf, index), size in zip(items, _in_threads(_size, items), strict=True):
            if isinstance(size, DataError):
                problems.append(str(size))
            else:
                planned.append(Planned(shelf, index, decoded_bytes(size, longest)))
        return problems, planned

    def _bad_masks(self, kept: set[tuple[int, int]], readable: set[tuple[int, int]]) -> list[str]:
        """What is wrong with the masks that are not kept; decoded once, so that none ends a run in its third hour."""
        left = [
            pair.mask
            for _, shelf in self.pairs
            for index, pair in enumerate(shelf.keys)
            if (id(shelf), index) not in kept and (id(shelf), index) in readable
        ]
        return [str(result) for result in _in_threads(_check_mask, left) if isinstance(result, DataError)]


def _numbers(plans: Sequence[Planned]) -> set[tuple[int, int]]:
    return {(id(plan.shelf), plan.number) for plan in plans}


def _check_mask(path: Path) -> None:
    read_mask(path).accepted("training")


def _size(item: tuple[Shelf[Any, Any], int]) -> tuple[int, int]:
    """(width, height) of an item of a shelf.

    Raises:
        DataError: if a file is no picture, or a mask's size does not fit.
    """
    shelf, index = item
    key = shelf.keys[index]
    if isinstance(key, Path):
        return read_header(key).size
    picture, mask = read_header(key.picture), read_header(key.mask)
    if not sizes_fit(picture.size, mask.size):
        raise DataError(misfit(key.picture, picture.size, mask.size))
    return picture.size


def _fill(planned: Sequence[Planned]) -> list[str]:
    """Decode the items, on all cores; returns what goes wrong."""
    problems = []
    for plan, item in zip(planned, _in_threads(_read_planned, planned), strict=True):
        if isinstance(item, DataError):
            problems.append(str(item))
        else:
            plan.shelf.kept[plan.number] = item
    return problems


def _inverted(shelf: Shelf[Pair, Masked]) -> list[str]:
    """What to say of a source most of whose masks look inverted; a few are only logged. Judged by those kept."""
    looks = [
        shelf.keys[index].mask for index, (_, mask) in shelf.kept.items() if measure_mask(mask[::4, ::4]).looks_inverted
    ]
    if len(looks) > max(len(shelf.kept) / 2, _FEW):
        return [
            f"{len(looks)} of {len(shelf.kept)} masks in `{looks[0].parent}` look inverted (white should be the "
            f"subject): {shortened(path.stem for path in looks)}; invert them, or set `data.allow_inverted: true`"
        ]
    if looks:
        log.warning("masks that look inverted: %s", shortened(str(path) for path in looks))
    return []


def _read_planned(plan: Planned) -> Any:
    return plan.shelf.read(plan.shelf.keys[plan.number])


def _in_threads(work: Callable[[Key], Item], items: Sequence[Key]) -> Iterator[Item | DataError]:
    """`work` of every item, in order; a DataError is a result, so that all of them can be listed."""

    def careful(item: Key) -> Item | DataError:
        try:
            return work(item)
        except DataError as error:
            return error

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1), thread_name_prefix="read") as pool:
        yield from pool.map(careful, items)


def read_pair(pair: Pair, longest: int | None) -> Masked:
    """A pair from its files, reduced to `longest`; the mask is brought to the picture's size.

    Raises:
        DataError: if either cannot be read, the mask is no mask, or the sizes do not fit.
    """
    picture, mask = read_rgb(pair.picture), read_mask(pair.mask).accepted("training")
    sizes = [(array.shape[1], array.shape[0]) for array in (picture, mask)]
    if not sizes_fit(*sizes):
        raise DataError(misfit(pair.picture, *sizes))
    picture, mask = _reduce(picture, longest), _reduce(mask, longest)
    return picture, mask if mask.shape == picture.shape[:2] else resize(mask, (picture.shape[1], picture.shape[0]))


def _read(path: Path, mode: str, longest: int | None) -> Array:
    return _reduce(read_rgba(path) if mode == "RGBA" else read_rgb(path), longest)


def _reduce(array: Array, longest: int | None) -> Array:
    if longest is None or max(array.shape[:2]) <= longest:
        return array
    image = Image.fromarray(array)
    image.thumbnail((longest, longest), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _drawn(sources: Iterable[Source]) -> Iterator[Source]:
    return (source for source in sources if source.weight > 0)
