"""8-bit array -> picture file: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from birefnet.errors import ConfigError, InputError, PictureError, did_you_mean
from birefnet.files import write_whole
from birefnet.pixels import resolution
from birefnet.pixels.resolution import Dpi

WRITABLE_SUFFIXES = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
SUFFIXES = {"PNG": ".png", "WEBP": ".webp", "TIFF": ".tiff", "JPEG": ".jpg"}  # that a file gets whose name we choose
FORMATS = tuple(SUFFIXES)
_MODES = {None: "L", 3: "RGB", 4: "RGBA"}  # by channels
_PREDICTOR = 317  # the TIFF tag that, set to 2, lets deflate see differences between neighbours


def write_picture(
    array: NDArray[np.uint8],
    target: str | os.PathLike[str] | BinaryIO,
    *,
    format: str | None = None,
    quality: int = 90,
    dpi: Dpi | None = None,
) -> None:
    """Write (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA uint8, sRGB, to a path or a binary stream.

    A path gets its file at once and complete: it is written beside and renamed; whatever interrupts the writing, no
    partial file is left and an older file of that name stays. PNG, TIFF and grey WebP are lossless; WebP in colour is
    lossy with an exact alpha; JPEG takes no alpha.

    Args:
        target: a path whose suffix names the format, or a stream open for writing bytes.
        format: "png", "webp", "tiff" or "jpeg"; overrides the suffix. A stream without it gets PNG.
        quality: of JPEG and of lossy WebP, 1..100.
        dpi: pixels an inch, across and down, to be written into the file.

    Raises:
        ConfigError: for a suffix or format that cannot be written.
        InputError: for an array of another shape or type.
        PictureError: if the file cannot be written.
    """
    path = path_of(target)
    chosen = output_format(path, format)
    image = _image(array)
    check_transparency(chosen, transparent=image.mode == "RGBA")
    options = _options(chosen, image.mode, quality) | resolution.options(chosen, dpi)

    def save(stream: Any) -> None:
        image.save(stream, chosen, **options)

    name = f"`{path}`" if path else "the picture"
    try:
        if path is None:
            save(cast(BinaryIO, target))
        else:
            write_whole(path, save)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"Cannot write {name}: {reason.rstrip('.')}.") from error


def usual_name(format: str) -> str:
    """The name that is usual for a format: "jpg" for "jpeg", "tiff" for "tif"; what is none stays as it is."""
    kind = WRITABLE_SUFFIXES.get(f".{format.strip().lower()}")
    return format if kind is None else SUFFIXES[kind][1:]


def path_of(target: str | os.PathLike[str] | BinaryIO) -> Path | None:
    """The path that a target is; None for a stream."""
    return Path(target) if isinstance(target, (str, os.PathLike)) else None


def output_format(path: Path | None, format: str | None) -> str:
    """The format asked for, by name or by suffix: one of `FORMATS`.

    Raises:
        ConfigError: if there is none such.
    """
    if format is not None:
        chosen = WRITABLE_SUFFIXES.get(f".{format.strip().lower().removeprefix('.')}")
        if chosen is None:
            names = [suffix[1:] for suffix in WRITABLE_SUFFIXES]
            hint = did_you_mean(format, names)
            raise ConfigError(f"Cannot write the format `{format}`; known: {', '.join(FORMATS).lower()}.", hint=hint)
        return chosen
    if path is None:
        return "PNG"
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        known = ", ".join(WRITABLE_SUFFIXES)
        raise ConfigError(f"Cannot tell a format from the name `{path.name}`; wanted one of: {known}.")
    return WRITABLE_SUFFIXES[path.suffix.lower()]


def check_transparency(format: str, *, transparent: bool) -> None:
    """Refuse a format that cannot hold what is to be written.

    Raises:
        ConfigError: for transparency in a JPEG.
    """
    if transparent and format == "JPEG":
        raise ConfigError("JPEG holds no transparency; write PNG or WebP, or choose a background.")


def check_quality(quality: int) -> None:
    """Refuse what is no quality.

    Raises:
        ConfigError: for another number than 1..100.
    """
    if not 1 <= quality <= 100:
        raise ConfigError(f"Quality runs from 1 to 100, got {quality}.")


def _image(array: NDArray[np.uint8]) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else None
    if array.ndim not in (2, 3) or channels not in _MODES or array.dtype != np.uint8 or not array.size:
        raise InputError(f"Wanted an array of (height, width[, 3 or 4]) uint8, got {array.shape} {array.dtype}.")
    return Image.fromarray(np.ascontiguousarray(array))  # four bytes a pixel are shared, not copied


def _options(format: str, mode: str, quality: int) -> dict[str, Any]:
    """Settings of Pillow's writers; the fast levels cost a tenth of the size and save two thirds of the time."""
    check_quality(quality)
    if format == "PNG":
        return {"compress_level": 1}
    if format == "WEBP":
        return (
            {"lossless": True, "quality": 20}
            if mode == "L"
            else {"quality": quality, "alpha_quality": 100, "method": 2}
        )
    if format == "TIFF":
        return {"compression": "tiff_adobe_deflate", "tiffinfo": {_PREDICTOR: 2}}
    return {"quality": quality, "subsampling": 0}
