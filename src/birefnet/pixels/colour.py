"""Colours of every kind of picture -> 8-bit sRGB."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
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


def narrow(mode: str, format: str | None, extremes: tuple[float, float]) -> Callable[[NDArray[Any]], NDArray[np.uint8]]:
    """The function from grey values in one of `WIDE_MODES` to 8 bits.

    16-bit grey runs to 65535. Files with 32-bit or floating-point grey do not say what white is; it is taken from
    the smallest usual range that holds `extremes`, the least and greatest value of the picture.

    Raises:
        PictureError: if no usual range fits.
    """
    low, high = extremes
    if mode.startswith("I;16") or (mode == "I" and format == "PNG"):
        white = 65535.0
    elif mode == "F" and low >= 0 and high <= 1:
        white = 1.0
    elif low >= 0 and high <= 255:
        white = 255.0
    elif mode == "I" and low >= 0 and high <= 65535:
        white = 65535.0
    else:
        raise PictureError(f"Grey values from {low:g} to {high:g} have no known white; convert it to 16 bits first.")
    scale = np.float32(255 / white)

    def to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
        return (values.astype(np.float32) * scale + np.float32(0.5)).astype(np.uint8)

    return to_bytes
