"""Any picture -> upright 8-bit sRGB and, where it has one, its alpha."""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from birefnet.errors import BiRefNetError, InputError, PictureError
from birefnet.pixels import colour
from birefnet.pixels.kinds import open_picture
from birefnet.pixels.opened import Decoded, Opened
from birefnet.pixels.resolution import resolution
from birefnet.pixels.sources import Source, is_path, kind_of, name_of, to_array, to_stream
from birefnet.pixels.strips import strips

logger = logging.getLogger(__name__)

MAX_PIXELS = 200_000_000
READABLE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
        *(".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pnm"),
    }
)

_Turn = Image.Transpose
_TURNS = {  # EXIF orientation -> what brings the picture upright; 1 is upright already
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        rgb: (H, W, 3) uint8, sRGB, upright.
        alpha: (H, W) float32 in [0, 1]; None where all is opaque.
        dpi: (across, down), in pixels an inch; None where the file does not say.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.float32] | None = None
    dpi: tuple[float, float] | None = None


def read_picture(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read the first frame of a picture, whatever it is called: its content decides.

    JPEG, PNG, WebP, TIFF, BMP, GIF, PPM; AVIF and HEIC where Pillow or the extra `heif` can. Orientation is applied,
    the colour profile converted to sRGB, 16 bits scaled to 8. Peak memory is about 7 bytes a pixel (8-bit colour).

    Args:
        source: a path, the file's bytes, a binary stream (read to its end), a Pillow image, or an array or a tensor of
            PyTorch: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA; uint8 in 0..255 or uint16 in 0..65535, taken as sRGB.
        max_pixels: larger pictures are refused before they are decoded.

    Raises:
        PictureError: if there is no such file, or it is not a picture, damaged or too large.
        InputError: for an array of another shape or type, and for what is no source at all.
        MissingExtra: for HEIC or AVIF that this installation cannot read.
    """
    array = to_array(source)
    if array is not None:
        return _from_array(array)
    name = name_of(source)
    if isinstance(source, Image.Image):
        return _decode(_opened(source), name, max_pixels)
    if not is_path(source):
        return _read(to_stream(source), name, max_pixels)
    try:
        with Path(os.fsdecode(cast(os.PathLike[str], source))).open("rb") as stream:
            return _read(stream if stream.seekable() else io.BytesIO(stream.read()), name, max_pixels)
    except (OSError, ValueError) as error:
        if isinstance(error, BiRefNetError):
            raise
        raise PictureError(f"Cannot read {name}: {_reason(error)}.") from error


def _read(stream: BinaryIO, name: str, max_pixels: int) -> Picture:
    with open_picture(stream, name) as opened:
        return _decode(opened, name, max_pixels)


def _opened(image: Image.Image) -> Opened:
    def decode() -> Decoded:
        image.load()
        return Decoded(image)

    return Opened(image.size, decode)


def _decode(opened: Opened, name: str, max_pixels: int) -> Picture:
    """Check the size, decode, and convert; every failure of a decoder becomes a sentence."""
    width, height = opened.size
    if not width or not height:
        raise PictureError(f"{name} has no pixels ({width}x{height}).")
    if width * height > max_pixels:
        raise PictureError(
            f"{name} is too large: {width}x{height} is {width * height / 1e6:.0f} megapixels, the limit is "
            f"{max_pixels / 1e6:.0f}; raise it with `max_pixels` if the picture can be trusted."
        )
    try:
        return _convert(_upright(opened.decode(), name))
    except BiRefNetError:
        raise
    except MemoryError as error:
        raise PictureError(f"{name} ({width}x{height}) does not fit into memory.") from error
    except Exception as error:  # decoders answer damaged data with almost any exception
        raise PictureError(f"{name} is damaged or cut short: {_reason(error)}.") from error


def _upright(decoded: Decoded, name: str) -> Decoded:
    """Apply the orientation in the EXIF data; broken EXIF data is no reason to refuse a picture."""
    image, cover = decoded.image, decoded.cover
    try:
        # Asked after loading: for TIFF and HEIC the decoder has then turned the picture, and says so.
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:
        logger.warning("ignoring the EXIF data of %s, which cannot be read: %s", name, error)
        return decoded
    if orientation not in _TURNS:
        return decoded
    turned = image.transpose(_TURNS[orientation])
    turned.format = image.format
    if orientation > 4 and "dpi" in image.info:
        turned.info["dpi"] = image.info["dpi"][::-1]
    return decoded._replace(image=turned, cover=cover and cover.transpose(_TURNS[orientation]))


def _convert(decoded: Decoded) -> Picture:
    """Decoded, upright pixels in any mode -> `Picture`, in strips."""
    image, whole_cover, _ = decoded
    width, height = image.size
    to_srgb = _to_srgb(decoded)
    wide = image.mode in colour.WIDE_MODES
    if wide:
        narrow = colour.narrow(image.mode, image.format, np.asarray(image))
    transparent = whole_cover is not None or colour.has_alpha(image)
    rgb = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.float32) if transparent else None
    for rows in strips(height, width):
        box = (0, rows.start, width, rows.stop)
        strip = image.crop(box)
        if wide:
            values = np.asarray(strip)
            flat, cover = Image.fromarray(narrow(values)), None
            if alpha is not None:
                alpha[rows] = values != image.info["transparency"]
        else:
            flat, cover = colour.split_alpha(strip)
        rgb[rows] = np.asarray(to_srgb(flat))
        if whole_cover is not None:
            cover = whole_cover.crop(box)
        if alpha is not None and cover is not None:
            np.multiply(np.asarray(cover), np.float32(1 / 255), out=alpha[rows])
    return Picture(rgb, _unless_opaque(alpha), resolution(image))


def _to_srgb(decoded: Decoded) -> colour.Step:
    """The function to sRGB by the picture's profile, or by what it says without one."""
    image, _, space = decoded
    profile = image.info.get("icc_profile")
    if space is None or profile:
        return colour.to_srgb(colour.flat_mode(image), profile)
    whole = image.convert("RGB") if space.hdr else Image.new("RGB", (1, 1))  # only highlights need to be looked at
    to_bytes = space.to_srgb(np.asarray(whole))
    return lambda strip: Image.fromarray(to_bytes(np.asarray(strip.convert("RGB"))))


def _from_array(array: NDArray[Any]) -> Picture:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 or uint16 -> `Picture`, sharing memory where it can."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.dtype not in (np.uint8, np.uint16) or not array.size:
        raise InputError(
            f"Wanted an array of (height, width[, 1, 3 or 4]) uint8 or uint16, got {kind_of(array)}.",
            hint=_array_hint(array),
        )
    alpha = None
    if array.shape[2] == 4:
        alpha = array[..., 3].astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    rgb = np.broadcast_to(array[..., :3], (*array.shape[:2], 3))
    return Picture(np.ascontiguousarray(rgb), _unless_opaque(alpha))


def _array_hint(array: NDArray[Any]) -> str | None:
    """How a common array of another kind becomes one that is taken."""
    steps = []
    if array.ndim == 4 and array.shape[0] == 1:
        return "one picture, without the axis of the batch: `array[0]`"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        steps.append("channels last: `array.transpose(1, 2, 0)`")
    if array.dtype.kind == "f":
        steps.append("of [0, 1]: `(array * 255).round().astype(numpy.uint8)`")
    return ", ".join(steps) or None


def _unless_opaque(alpha: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """Many pictures have an alpha channel that says nothing; without it all that follows is cheaper."""
    return None if alpha is None or alpha.min() > 254.5 / 255 else alpha


def _reason(error: BaseException) -> str:
    """What went wrong, as the end of a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.rstrip(".")
