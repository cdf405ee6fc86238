"""Pictures and masks from files, as training, checking and evaluation see them.

A picture is read as inference reads it: upright, 8-bit sRGB. A mask is numbers, not colours: no profile is applied,
soft values stay soft, and whatever is no grey mask is refused, never guessed at.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from birefnet.errors import BiRefNetError, DataError, PictureError
from birefnet.pixels.colour import WIDE_MODES, has_alpha, narrow
from birefnet.pixels.kinds import open_kind
from birefnet.pixels.picture import MAX_PIXELS, read_picture

Array = NDArray[np.uint8]

COLOUR_TOLERANCE = 16  # grey that went through JPEG as colour differs by a few levels between its channels
DIMMEST = 64  # a mask that never gets brighter holds class numbers, or 0 and 1, not alpha
ASPECT_TOLERANCE = 0.02  # a mask of another size fits if its aspect differs by less: rounding of small sides


class MaskKind(Exception):
    """A mask that can be decoded but is not what a mask should be.

    Attributes:
        kind: "colour-mask", "transparent-mask" or "dim-mask".
        particulars: what can be said beyond that.
    """

    def __init__(self, kind: str, text: str, particulars: str = "") -> None:
        super().__init__(text)
        self.kind, self.particulars = kind, particulars


class Header(NamedTuple):
    """What a file says of its picture before it is decoded; `size` is (width, height), upright."""

    size: tuple[int, int]
    mode: str
    format: str


def read_header(path: Path) -> Header:
    """Size, mode and format of a picture file.

    Raises:
        DataError: if it is no picture, or damaged so far that this cannot be told.
    """
    try:
        with path.open("rb") as stream, open_kind(stream, f"`{path}`") as image:
            turned = _orientation(image) in (5, 6, 7, 8)
            size = image.size[::-1] if turned else image.size
            return Header((size[0], size[1]), image.mode, image.format or "")
    except (OSError, BiRefNetError) as error:
        raise _unreadable(path, error) from error


def read_rgb(path: Path) -> Array:
    """The picture in a file, (H, W, 3) uint8 sRGB, upright.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return read_picture(path).rgb
    except BiRefNetError as error:
        raise _unreadable(path, error) from error


def read_rgba(path: Path) -> Array:
    """The picture in a file with its alpha (255 where it has none), (H, W, 4) uint8.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        picture = read_picture(path)
    except BiRefNetError as error:
        raise _unreadable(path, error) from error
    alpha = np.full(picture.rgb.shape[:2], 255, np.uint8)
    if picture.alpha is not None:
        alpha = (picture.alpha * 255 + np.float32(0.5)).astype(np.uint8)
    return np.dstack([picture.rgb, alpha])


def read_mask(path: Path) -> Array:
    """The mask in a file, (H, W) uint8; 16 bits are scaled to 8, a palette is resolved.

    Raises:
        DataError: if it cannot be read, has colours or transparency, or never comes near white though it is not empty
            (such as 0 and 1 in place of 0 and 255).
    """
    try:
        return check_brightness(decode_mask(path), path)
    except MaskKind as error:
        raise DataError(str(error)) from error


def decode_mask(path: Path) -> Array:
    """The mask in a file as its numbers are, (H, W) uint8, upright.

    Raises:
        DataError: if it cannot be read.
        MaskKind: if it has colours or transparency.
    """
    try:
        with path.open("rb") as stream, open_kind(stream, f"`{path}`") as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(f"`{path}` is too large: {image.width}x{image.height}")
            image.load()
            if _orientation(image) != 1:  # rare enough for the slower way
                return _grey(read_picture(path).rgb, path)
            return _decode(image, path)
    except (MaskKind, DataError):
        raise
    except Exception as error:  # decoders answer damaged data with almost any exception
        raise _unreadable(path, error) from error


def _decode(image: Image.Image, path: Path) -> Array:
    if image.mode in WIDE_MODES:
        values = np.asarray(image)
        return narrow(image.mode, image.format, (float(values.min()), float(values.max())))(values)
    if has_alpha(image):
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            raise MaskKind(
                "transparent-mask",
                f"`{path}` is a mask with transparency; save the alpha itself as a grey picture",
            )
        return _grey(rgba[..., :3], path)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return _grey(np.asarray(image.convert("RGB")), path)


def _grey(rgb: NDArray[np.uint8], path: Path) -> Array:
    """The one channel of a grey picture that is stored in three."""
    low, high = rgb.min(axis=2), rgb.max(axis=2)
    if int((high - low).max()) > COLOUR_TOLERANCE:
        raise MaskKind(
            "colour-mask",
            f"`{path}` is a mask in colour; wanted grey: white where the subject is, black elsewhere",
        )
    return np.ascontiguousarray(rgb[..., 1])


def check_brightness(mask: Array, path: Path) -> Array:
    """The mask itself, if it is empty or somewhere at least `DIMMEST` bright.

    Raises:
        MaskKind: if it is neither.
    """
    brightest = int(mask.max())
    if 0 < brightest < DIMMEST:
        what = "holds 0 and 1" if brightest == 1 else f"is never brighter than {brightest} of 255"
        raise MaskKind("dim-mask", f"`{path}` {what}; white (255) should be where the subject is", f"it {what}")
    return mask


def sizes_fit(picture: tuple[int, int], mask: tuple[int, int]) -> bool:
    """Whether a mask of one size (width, height) can belong to a picture of another: equal aspects."""
    ratio = picture[0] * mask[1] / (picture[1] * mask[0])
    return abs(ratio - 1) <= ASPECT_TOLERANCE


def misfit(picture: Path, of_picture: tuple[int, int], of_mask: tuple[int, int]) -> str:
    """The sentence for a pair whose sizes (width, height) do not fit."""
    return f"`{picture}` is {of_picture[0]}x{of_picture[1]} but its mask is {of_mask[0]}x{of_mask[1]}"


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF data is no reason to refuse a picture
        return 1


def _unreadable(path: Path, error: BaseException) -> DataError:
    text = str(getattr(error, "strerror", None) or error).rstrip(".")
    return DataError(text if f"`{path}`" in text else f"`{path}` cannot be read: {text}")
