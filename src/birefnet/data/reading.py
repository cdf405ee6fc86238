"""Pictures from files for training and checking, read as inference reads them: upright, 8-bit sRGB.

Masks have a reader of their own, `birefnet.data.masks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from birefnet.errors import BiRefNetError, DataError
from birefnet.pixels.colour import WIDE_MODES
from birefnet.pixels.kinds import open_kind
from birefnet.pixels.picture import read_picture

Array = NDArray[np.uint8]

ASPECT_TOLERANCE = 0.02  # a mask of another size fits if its aspect differs by less: rounding of small sides


class Header(NamedTuple):
    """What a file says of its picture before it is decoded.

    Attributes:
        size: (width, height), upright.
        mode: Pillow's.
        format: its kind, for example "PNG".
        turn: EXIF's orientation, 1 to 8; 1 is upright.
    """

    size: tuple[int, int]
    mode: str
    format: str
    turn: int = 1

    @property
    def deep(self) -> bool:
        """Whether its values have more than 8 bits."""
        return self.mode in WIDE_MODES


def read_header(path: Path) -> Header:
    """Size, mode and format of a picture file.

    Raises:
        DataError: if it is no picture, or damaged so far that this cannot be told.
    """
    try:
        with path.open("rb") as stream, open_kind(stream, f"`{path}`") as image:
            turn = orientation(image)
            sideways = turn in (5, 6, 7, 8) and image.format != "TIFF"  # Pillow swaps the sides of TIFF itself
            width, height = image.size[::-1] if sideways else image.size
            return Header((width, height), image.mode, image.format or "", turn)
    except (OSError, BiRefNetError) as error:
        raise unreadable(path, error) from error


def read_rgb(path: Path) -> Array:
    """The picture in a file, (H, W, 3) uint8 sRGB, upright.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return read_picture(path).rgb
    except BiRefNetError as error:
        raise unreadable(path, error) from error


def read_rgba(path: Path) -> Array:
    """The picture in a file with its alpha (255 where it has none), (H, W, 4) uint8.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        picture = read_picture(path)
    except BiRefNetError as error:
        raise unreadable(path, error) from error
    alpha = np.full(picture.rgb.shape[:2], 255, np.uint8)
    if picture.alpha is not None:
        alpha = (picture.alpha * 255 + np.float32(0.5)).astype(np.uint8)
    return np.dstack([picture.rgb, alpha])


def sizes_fit(picture: tuple[int, int], mask: tuple[int, int]) -> bool:
    """Whether a mask of one size (width, height) can belong to a picture of another: equal aspects."""
    ratio = picture[0] * mask[1] / (picture[1] * mask[0])
    return abs(ratio - 1) <= ASPECT_TOLERANCE


def misfit(picture: Path, of_picture: tuple[int, int], of_mask: tuple[int, int]) -> str:
    """The sentence for a pair whose sizes (width, height) do not fit."""
    return f"`{picture}` is {of_picture[0]}x{of_picture[1]} but its mask is {of_mask[0]}x{of_mask[1]}"


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) also where it is absent, damaged or no such number."""
    try:
        turn = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF data is no reason to refuse a picture
        return 1
    return turn if 1 <= turn <= 8 else 1


def unreadable(path: Path, error: BaseException) -> DataError:
    """The sentence for a file that cannot be read."""
    if isinstance(error, DataError):
        return error
    text = str(getattr(error, "strerror", None) or error).rstrip(".")
    return DataError(text if f"`{path}`" in text else f"`{path}` cannot be read: {text}")
