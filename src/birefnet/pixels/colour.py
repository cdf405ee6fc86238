"""Colours of every kind of picture -> 8-bit sRGB."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageCms

from birefnet.errors import PictureError

logger = logging.getLogger(__name__)

# Every step here works pixel by pixel, so that a picture can be converted in strips.
Step = Callable[[Image.Image], Image.Image]

WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_FLAT_MODES = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK", "LAB": "LAB"}  # all others become RGB


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has an alpha channel, transparent palette entries or one transparent colour."""
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def flat_mode(image: Image.Image) -> str:
    """The mode without alpha or palette in which a picture's colours, and its profile, are meant."""
    return "L" if image.mode in WIDE_MODES else _FLAT_MODES.get(image.mode, "RGB")


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """A picture in any 8-bit mode -> its colours in `flat_mode`, and its alpha as 8-bit grey or None."""
    mode = flat_mode(image)
    if not has_alpha(image) or mode in ("CMYK", "LAB"):
        return (image if image.mode == mode else image.convert(mode)), None
    both = image.convert("LA" if mode == "L" else "RGBA")
    return both.convert(mode), both.getchannel("A")


def to_srgb(mode: str, profile: bytes | None) -> Step:
    """The function from colours in `mode`, described by an ICC profile or by custom, to sRGB.

    A profile that is broken, or of another kind of picture, is left aside with a warning in the log.
    """
    transform = None
    if profile:
        try:
            transform = _transform(mode, io.BytesIO(profile))
        except Exception as error:  # a profile is foreign binary data: it can fail in many ways, none of them fatal
            logger.warning("ignoring the picture's colour profile, which cannot be used: %s", error)
    elif mode == "LAB":
        transform = _transform(mode, ImageCms.createProfile("LAB"))
    if transform is None:
        return lambda strip: strip if strip.mode == "RGB" else strip.convert("RGB")
    return partial(_apply, transform)


def _transform(mode: str, source: Any) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB, or None if it would change nothing."""
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode != "RGB":
        return transform
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    changed = np.asarray(_apply(transform, Image.fromarray(colours)))
    # Most profiles in the wild are sRGB under some name; its rounding is not worth a pass over the picture.
    return transform if np.abs(changed.astype(int) - colours).max() > 1 else None


def _apply(transform: ImageCms.ImageCmsTransform, strip: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(strip, transform)
    assert converted is not None  # only an in-place transform gives None
    return converted


def narrow(mode: str, format: str | None, values: ArrayLike) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """The function from grey values in one of `WIDE_MODES` to 8 bits.

    Args:
        values: all of a picture, or its least and greatest; see `shares`.

    Raises:
        PictureError: if no usual range fits.
    """
    if mode.startswith("I;16") or (mode == "I" and format in ("PNG", "PPM")):
        scale = shares(np.zeros(1, np.uint16), top=255)
    else:
        scale = shares(np.asarray(values, np.float32 if mode == "F" else np.int32), top=255)

    def to_bytes(part: NDArray[Any]) -> NDArray[np.uint8]:
        return (scale(part) + np.float32(0.5)).astype(np.uint8)

    return to_bytes


_OUTSIDE = 0.01  # of the values; more are no overshoot of a filter but say that the range is another one


def shares(
    values: NDArray[Any], bits: int | None = None, *, top: float = 1
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """The function from numbers like these to [0, top], where `top` is white.

    Unsigned numbers of 16 bits or fewer use all of them. Others do not say what white is: it is taken from the smallest
    usual range that holds them. Numbers of floating point are in 0..1 if half of those above 0 are, and what goes
    beyond is cut off; signed ones are in their whole range if some of them are negative.

    Args:
        values: all of a picture, uint, int or float.
        bits: that each has, if fewer than its type.

    Raises:
        PictureError: if no usual range fits.
    """
    low, white = _range(values, values.dtype.itemsize * 8 if bits is None else bits)
    scale = np.float32(top / white)

    def to_shares(part: NDArray[Any]) -> NDArray[np.float32]:
        out = part.astype(np.float32)
        if low:
            out -= np.float32(low)
        out *= scale
        return np.clip(out, 0, top, out=out)

    return to_shares


def _range(values: NDArray[Any], bits: int) -> tuple[float, float]:
    """The least value, and how far white is from it."""
    kind = values.dtype.kind
    if kind == "u" and bits <= 16:
        return 0, 2**bits - 1
    least, most = float(values.min()), float(values.max())
    fits = np.isfinite(least) and np.isfinite(most)
    if fits and least < 0 and np.count_nonzero(values < 0) > _OUTSIDE * values.size:
        if kind == "i":
            return -(2 ** (bits - 1)), 2**bits - 1
        fits = False
    if fits and kind == "f" and (most <= 1 or 2 * np.count_nonzero(values > 1) <= np.count_nonzero(values > 0)):
        return 0, 1
    full = 65535 if kind == "f" else 2 ** (bits - (kind == "i")) - 1
    white = next((white for white in (255, 65535, full) if most <= white <= full), None)
    if not fits or white is None:
        raise PictureError(
            f"Values from {least:g} to {most:g} have no known white; convert the picture to 16 bits first."
        )
    return 0, white
