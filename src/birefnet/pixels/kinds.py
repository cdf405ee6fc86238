"""Which kind of picture a file is, by its first bytes, and the Pillow plugin that opens it.

Only these kinds are ever tried: Pillow also knows formats that run interpreters or hold no single picture. The plugins
are used directly, so that the package's own pixel limit applies, not Pillow's global one, and nothing is registered.
"""

from __future__ import annotations

import importlib
import re
from typing import BinaryIO, NamedTuple

from PIL import ImageFile, features

from birefnet.errors import BiRefNetError, MissingExtra, PictureError, require


class Kind(NamedTuple):
    """One kind of picture.

    Attributes:
        name: as people call it.
        start: matches its first bytes.
        module, plugin: the class that opens it.
    """

    name: str
    start: re.Pattern[bytes]
    module: str
    plugin: str


_AVIF = rb"....ftyp(avif|avis)"
_HEIF = rb"....ftyp(heic|heix|heim|heis|hevc|hevx|hevm|hevs|mif1|msf1)"
KINDS = (
    Kind("JPEG", re.compile(rb"\xff\xd8\xff"), "PIL.JpegImagePlugin", "JpegImageFile"),
    Kind("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), "PIL.PngImagePlugin", "PngImageFile"),
    Kind("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), "PIL.WebPImagePlugin", "WebPImageFile"),
    Kind("TIFF", re.compile(rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"), "PIL.TiffImagePlugin", "TiffImageFile"),
    Kind("GIF", re.compile(rb"GIF8[79]a"), "PIL.GifImagePlugin", "GifImageFile"),
    Kind("BMP", re.compile(rb"BM"), "PIL.BmpImagePlugin", "BmpImageFile"),
    Kind("PPM", re.compile(rb"P[1-6]\s"), "PIL.PpmImagePlugin", "PpmImageFile"),
    Kind("AVIF", re.compile(_AVIF, re.DOTALL), "PIL.AvifImagePlugin", "AvifImageFile"),
    Kind("HEIC", re.compile(_HEIF, re.DOTALL), "pillow_heif", "HeifImageFile"),
)


def find_kind(start: bytes) -> Kind | None:
    """The kind of picture whose file begins with `start` (16 bytes are enough), or None."""
    return next((kind for kind in KINDS if kind.start.match(start)), None)


def open_kind(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read a picture's header; its pixels are not decoded yet.

    Args:
        stream: at its beginning, seekable.
        name: what to call it in an error.

    Raises:
        PictureError: if it is none of `KINDS`, or its header is damaged.
        MissingExtra: if this installation cannot read its kind.
    """
    start = stream.read(16)
    stream.seek(0)
    if not start:
        raise PictureError(f"{name} is empty (0 bytes).")
    kind = find_kind(start)
    if kind is None:
        known = ", ".join(kind.name for kind in KINDS)
        raise PictureError(f"{name} is not a picture of a kind that can be read ({known}).")
    plugin = _plugin(kind)
    try:
        image = plugin(stream)
    except BiRefNetError:
        raise
    except Exception as error:  # headers are foreign data: parsers fail in many ways
        raise PictureError(f"{name} looks like {kind.name}, but is damaged or cut short: {error}.") from error
    assert isinstance(image, ImageFile.ImageFile)
    return image


def _plugin(kind: Kind) -> type[ImageFile.ImageFile]:
    """Import the plugin of a kind; AVIF and HEIC are not in every installation."""
    if kind.name == "AVIF" and not features.check("avif"):
        raise MissingExtra("This Pillow reads no AVIF; install a newer one with: pip install 'pillow>=11.3'")
    module = require(kind.module, "heif") if kind.name == "HEIC" else importlib.import_module(kind.module)
    plugin: type[ImageFile.ImageFile] = getattr(module, kind.plugin)
    return plugin
