"""Which kind of picture a file is, by its first bytes, and who opens it.

Only these kinds are ever tried: Pillow also knows formats that run interpreters or hold no single picture. The plugins
are used directly, so that the package's own pixel limit applies, not Pillow's global one, and nothing is registered.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile, features

from birefnet.errors import BiRefNetError, MissingExtra, PictureError, require
from birefnet.pixels import isobmff
from birefnet.pixels.gif import open_gif
from birefnet.pixels.jpeg import open_jpeg
from birefnet.pixels.opened import Decoded, Opened
from birefnet.pixels.png import open_png
from birefnet.pixels.tiff import open_tiff


class Kind(NamedTuple):
    """One kind of picture.

    Attributes:
        name: as people call it.
        start: matches its first bytes; AVIF and HEIC are told apart by what follows.
        module, plugin: the class of Pillow that opens it.
    """

    name: str
    start: re.Pattern[bytes]
    module: str
    plugin: str


HEAD = 4096  # bytes by which any kind is known; 16 are enough to know that a file is of one
_BOXES = re.compile(rb"....ftyp", re.DOTALL)
KINDS = (
    Kind("JPEG", re.compile(rb"\xff\xd8\xff"), "PIL.JpegImagePlugin", "JpegImageFile"),
    Kind("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), "PIL.PngImagePlugin", "PngImageFile"),
    Kind("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), "PIL.WebPImagePlugin", "WebPImageFile"),
    Kind("TIFF", re.compile(rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"), "PIL.TiffImagePlugin", "TiffImageFile"),
    Kind("GIF", re.compile(rb"GIF8[79]a"), "PIL.GifImagePlugin", "GifImageFile"),
    Kind("BMP", re.compile(rb"BM"), "PIL.BmpImagePlugin", "BmpImageFile"),
    Kind("PPM", re.compile(rb"P[1-6]\s"), "PIL.PpmImagePlugin", "PpmImageFile"),
    Kind("AVIF", _BOXES, "PIL.AvifImagePlugin", "AvifImageFile"),
    Kind("HEIC", _BOXES, "pillow_heif", "HeifImageFile"),
)
_OPENERS: dict[str, Callable[[BinaryIO, str], Opened]] = {  # of the kinds that are more than their plugin
    "JPEG": open_jpeg,
    "PNG": open_png,
    "TIFF": open_tiff,
    "GIF": open_gif,
}


def find_kind(start: bytes) -> Kind | None:
    """The kind of picture whose file begins with `start` (`HEAD` bytes), or None."""
    boxes = isobmff.kind_of(start)
    found = (kind for kind in KINDS if kind.start.match(start))
    return next((kind for kind in found if kind.start is not _BOXES or kind.name == boxes), None)


def open_picture(stream: BinaryIO, name: str) -> Opened:
    """Read a picture's header; its pixels are not decoded yet.

    Args:
        stream: at its beginning, seekable; read again when the pixels are decoded.
        name: what to call it in an error.

    Raises:
        PictureError: if it is none of `KINDS`, its header is damaged, or its like is not supported.
        MissingExtra: if this installation cannot read its kind.
    """
    start = stream.read(HEAD)
    stream.seek(0)
    if not start:
        raise PictureError(f"{name} is empty (0 bytes).")
    kind = find_kind(start)
    if kind is None:
        known = ", ".join(kind.name for kind in KINDS)
        raise PictureError(f"{name} is not a picture of a kind that can be read ({known}).")
    plugin = _plugin(kind)
    try:
        if kind.name in _OPENERS:
            return _OPENERS[kind.name](stream, name)
        return _open_plainly(plugin, stream, boxes=kind.start is _BOXES)
    except BiRefNetError:
        raise
    except Exception as error:  # headers are foreign data: parsers fail in many ways
        raise PictureError(f"{name} looks like {kind.name}, but is damaged or cut short: {error}.") from error


def open_kind(stream: BinaryIO, name: str) -> Image.Image:
    """The same as an image of Pillow, for those who read no colours: its mode and numbers are the file's.

    Raises:
        PictureError, MissingExtra: as for `open_picture`.
    """
    opened = open_picture(stream, name)
    return opened.decode().image if opened.image is None else opened.image


def _open_plainly(plugin: type[ImageFile.ImageFile], stream: BinaryIO, *, boxes: bool) -> Opened:
    if boxes and plugin.format == "AVIF":
        stream = isobmff.named_avif(stream)
    space = isobmff.find_space(stream) if boxes else None
    stream.seek(0)
    image = plugin(stream)

    def decode() -> Decoded:
        image.load()
        if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
            return Decoded(image.convert("RGB"))  # written by programs that know nothing of alpha
        return Decoded(image, space=space)

    return Opened(image.size, decode, image)


def _plugin(kind: Kind) -> type[ImageFile.ImageFile]:
    """Import the plugin of a kind; AVIF and HEIC are not in every installation."""
    if kind.name == "AVIF" and not features.check("avif"):
        raise MissingExtra("This Pillow reads no AVIF; install a newer one with: pip install 'pillow>=11.3'")
    module = require(kind.module, "heif") if kind.name == "HEIC" else importlib.import_module(kind.module)
    plugin: type[ImageFile.ImageFile] = getattr(module, kind.plugin)
    return plugin
