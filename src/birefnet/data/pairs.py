"""Folders of pictures and masks, matched by stem; nothing missing is passed over in silence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from birefnet.errors import DataError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and its mask: any size, white is the subject, grey is partly the subject."""

    picture: Path
    mask: Path


def find_pictures(folder: Path, only: Collection[str] | None = None) -> list[Path]:
    """All picture files directly in `folder`, by name; with `only`, those of these stems.

    Raises:
        DataError: if the folder is missing or empty, or lacks one of the stems asked for.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder `{folder}`")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if only is not None:
        absent = sorted(set(only) - {path.stem for path in found})
        if absent:
            raise DataError(f"`{folder}` lacks {_some(absent)}")
        found = [path for path in found if path.stem in only]
    if not found:
        raise DataError(f"No pictures in `{folder}`; it should hold {', '.join(sorted(PICTURE_SUFFIXES))} files")
    return found


def find_pairs(folder: Path, only: Collection[str] | None = None) -> list[Pair]:
    """The pairs of `folder`/im and `folder`/gt, matched by stem; suffixes may differ.

    Args:
        folder: holds the two folders `im` and `gt`.
        only: stems to take; None takes all.

    Raises:
        DataError: if a folder is missing or empty, if any picture lacks its mask or the
            other way round, or if two files share a stem.
    """
    pictures = _by_stem(find_pictures(folder / "im", only))
    masks = _by_stem(find_pictures(folder / "gt", only))
    lone_pictures, lone_masks = sorted(pictures.keys() - masks.keys()), sorted(masks.keys() - pictures.keys())
    if lone_pictures or lone_masks:
        parts = [f"{len(lone_pictures)} pictures without a mask: {_some(lone_pictures)}"] if lone_pictures else []
        parts += [f"{len(lone_masks)} masks without a picture: {_some(lone_masks)}"] if lone_masks else []
        raise DataError(f"`{folder}` has {'; '.join(parts)}")
    return [Pair(pictures[stem], masks[stem]) for stem in sorted(pictures)]


def _by_stem(paths: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise DataError(f"`{named[path.stem].name}` and `{path.name}` in `{path.parent}` share one stem")
        named[path.stem] = path
    return named


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more
