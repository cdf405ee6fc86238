"""JPEG: files whose end marker is missing, and what decoders cannot hold."""

from __future__ import annotations

import io
import re
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from birefnet.errors import PictureError
from birefnet.pixels.opened import Decoded, Opened

MAX_SIDE = 65_500  # of libjpeg, the decoder of nearly every program
_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # in coded data: neither a byte 255 nor a restart
_FILLERS = (b"\0", b"\x55", b"\xaa")  # bits that no missing data could all equal
_FILLED = 1 << 16


def open_jpeg(stream: BinaryIO, name: str) -> Opened:
    """Read the header of a JPEG, at whose beginning the stream is."""
    image = JpegImagePlugin.JpegImageFile(stream)

    def decode() -> Decoded:
        if max(image.size) > MAX_SIDE:
            width, height = image.size
            raise PictureError(f"{name} is {width}x{height}; of a JPEG, {MAX_SIDE} pixels a side can be decoded.")
        try:
            image.load()
        except OSError as error:
            if "truncated" not in str(error):
                raise
            stream.seek(0)
            return Decoded(_without_end(stream.read(), name))
        return Decoded(image)

    return Opened(image.size, decode, image)


def _without_end(data: bytes, name: str) -> Image.Image:
    """Decode a JPEG without its end marker, if nothing else of it is missing.

    What a decoder makes of bits behind the last one that it needs changes nothing, and of the first one that is missing
    very much: so the picture is decoded with several ends, and is whole if all give the same.

    Raises:
        PictureError: with how much is missing.
    """
    data = data.rstrip(b"\xff")
    if not _has_all_scans(data):
        raise PictureError(f"{name} is cut short: the scans with its details are missing.")
    image, *others = [_decode(data + filler * _FILLED + _END) for filler in _FILLERS]
    first = np.asarray(image)
    rows = min((_first_row(first, np.asarray(other)) for other in others), default=image.height)
    if rows < image.height:
        missing = 1 - rows / image.height
        raise PictureError(f"{name} is cut short: about {max(missing, 0.01):.0%} of the picture is missing.")
    return image


def _decode(data: bytes) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    image.load()
    return image


def _first_row(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """The first row in which two pictures differ; their height if none does."""
    differs = (one != other).reshape(len(one), -1).any(axis=1)
    return int(differs.argmax()) if differs.any() else len(one)


def _has_all_scans(data: bytes) -> bool:
    """Whether every component has a scan and, in a progressive file, all its coefficients to the last bit."""
    missing: dict[int, set[int]] = {}
    at = 2
    while found := _MARKER.search(data, at):
        kind, start = found[1][0], found.end()
        length = int.from_bytes(data[start : start + 2], "big")
        body = data[start + 2 : start + length]
        at = start + length
        if kind in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) and len(body) >= 6:
            names = body[6 : 6 + 3 * body[5] : 3]
            missing = {name: set(range(64 if kind in (0xC2, 0xCA) else 1)) for name in names}
        elif kind == 0xDA and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[-3], body[-2], body[-1] & 15
            for name in body[1 : 1 + 2 * body[0] : 2]:
                if bits == 0 and name in missing:
                    missing[name] -= set(range(first, last + 1))
    return bool(missing) and not any(missing.values())
