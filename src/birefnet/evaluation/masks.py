"""A mask or prediction file -> 8-bit grey, or what is wrong with it; nothing is converted in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from birefnet.errors import BiRefNetError, DataError
from birefnet.pixels.kinds import open_kind

Grey = NDArray[np.uint8]  # (H, W), 0..255, white is the subject

T = TypeVar("T")

_GREY = ("L", "1")
_DEEP = ("I", "F")  # Pillow's modes with more than 8 bits begin so
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ROUNDING = 3  # grey pictures saved as colour JPEG come back with channels so far apart


class MaskError(DataError):
    """A file that is no mask.

    Attributes:
        kind: of `birefnet.evaluation.problems.KINDS`.
        detail: what is wrong with this file, a few words; may be empty.
    """

    def __init__(self, path: Path, kind: str, detail: str = "") -> None:
        super().__init__(f"`{path}`: {detail or kind}.")
        self.path, self.kind, self.detail = path, kind, detail

    def __reduce__(self) -> tuple[type[MaskError], tuple[Path, str, str]]:
        return MaskError, (self.path, self.kind, self.detail)


def mask_size(path: Path) -> tuple[int, int]:
    """(width, height) of a mask, from its header alone.

    Raises:
        MaskError: if it is no picture or has more than 8 bits.
    """
    return _open(path, lambda image: image.size)


def check_colours(path: Path) -> None:
    """Decode a file if its header says that it could hold colours, and only then.

    Raises:
        MaskError: if it does, or cannot be decoded.
    """
    _open(path, lambda image: None if image.mode in _GREY else _grey(image, path))


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of a photo as it is seen upright, from its header alone.

    Raises:
        MaskError: if it is no picture.
    """

    def upright(image: Image.Image) -> tuple[int, int]:
        width, height = image.size
        sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        return (height, width) if sideways else (width, height)

    return _open(path, upright, deep=True)


def read_mask(path: Path) -> Grey:
    """Read a mask: grey of 1 or 8 bits, or colour and palette files that hold nothing but grey.

    Returns:
        (H, W) uint8, not stretched or thresholded.

    Raises:
        MaskError: if it is no picture, damaged, coloured, transparent somewhere, or has more than 8 bits.
    """
    return _open(path, lambda image: _grey(image, path))


def read_pair(prediction: Path, truth: Path) -> tuple[tuple[Grey, Grey] | None, list[MaskError]]:
    """Both files of a pair, or None and what is wrong with each; a truth of 0 and 1 counts as wrong."""
    arrays: list[Grey] = []
    problems: list[MaskError] = []
    for path in (prediction, truth):
        try:
            arrays.append(read_mask(path))
        except MaskError as error:
            problems.append(error)
    if not problems and arrays[1].max() == 1:
        problems.append(MaskError(truth, "ones"))
    return (None, problems) if problems else ((arrays[0], arrays[1]), [])


def _open(path: Path, use: Callable[[Image.Image], T], *, deep: bool = False) -> T:
    try:
        with path.open("rb") as stream, open_kind(stream, f"`{path.name}`") as image:
            if image.mode.startswith(_DEEP) and not deep:
                raise MaskError(path, "deep")
            return use(image)
    except MaskError:
        raise
    except BiRefNetError as error:
        raise MaskError(path, "unreadable", str(error).splitlines()[0].rstrip(".")) from error
    except Exception as error:  # decoders answer damaged data with almost any exception
        raise MaskError(path, "unreadable", getattr(error, "strerror", None) or str(error)) from error


def _grey(image: Image.Image, path: Path) -> Grey:
    image.load()
    if image.mode in _GREY and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    rgba = np.asarray(image.convert("RGBA"))
    if rgba[..., 3].min() < 255:
        raise MaskError(path, "transparent")
    red, green, blue = (rgba[..., channel].astype(np.int16) for channel in range(3))
    if max(np.abs(red - green).max(), np.abs(green - blue).max(), np.abs(red - blue).max()) > _ROUNDING:
        raise MaskError(path, "colour")
    return np.asarray(image.convert("RGB").convert("L"))
