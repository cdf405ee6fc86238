"""Pictures to calibrate an 8-bit network with: they show it which values its layers take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birefnet.data.pairs import PICTURE_SUFFIXES, match_pairs, set_folders_in
from birefnet.errors import DataError, shortened
from birefnet.pixels.compose import visible
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec, prepare

MOST_PICTURES = 32  # more hardly change the ranges, and each costs a run of the network
_PICTURES = "im"  # the folder of a set that holds its pictures; beside it are their masks


def find_calibration(folder: Path, most: int = MOST_PICTURES) -> list[Path]:
    """Up to `most` pictures of a folder and its sub-folders, evenly spread; of sets (`im` and `gt`) no masks.

    Raises:
        DataError: if there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder `{folder}` of pictures to calibrate with")
    homes = [home / _PICTURES for home in set_folders_in(folder) if (home / _PICTURES).is_dir()] or [folder]
    found = sorted(path for home in homes for path in home.rglob("*") if _is_picture(path, folder))
    if not found:
        raise DataError(f"No pictures in `{folder}` to calibrate with; it should hold some dozens of typical ones")
    if len(found) <= most:
        return found
    return [found[index] for index in np.linspace(0, len(found) - 1, most).round().astype(int)]


def masks_of(pictures: list[Path], folder: Path) -> list[Path]:
    """The mask of each picture that `find_calibration` took from `folder`.

    Raises:
        DataError: if some have none: only sets (`im` and `gt`) do.
    """
    masks = {pair.picture: pair.mask for home in set_folders_in(folder) for pair in match_pairs(home).pairs}
    missing = [path.name for path in pictures if path not in masks]
    if missing:
        raise DataError(
            f"Without masks nothing tells what 8 bits cost; {len(missing)} pictures have none in a `gt` beside their "
            f"`im`: {shortened(missing)}"
        )
    return [masks[path] for path in pictures]


def calibration_pictures(files: list[Path], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    """Each picture as a `Remover` shows it to the network: (1, 3, spec.height, spec.width), normalised.

    Raises:
        PictureError: if one cannot be read.
    """
    for path in files:
        picture, _ = prepare(visible(read_picture(path)), spec)
        yield picture


def _is_picture(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file()
