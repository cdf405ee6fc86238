"""PNG: what a picture needs of it, and only that; its remarks, broken or huge, never matter."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from birefnet.errors import PictureError
from birefnet.pixels import spaces
from birefnet.pixels.opened import Decoded, Opened
from birefnet.pixels.pieces import Piece, join
from birefnet.pixels.spaces import Space

logger = logging.getLogger(__name__)

_SIGNATURE = 8
_NEEDED = (b"tRNS", b"pHYs", b"eXIf")  # besides the critical ones, for Pillow
_COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP")  # read here
_LENGTHS = {b"pHYs": (9,), b"tRNS": range(1, 257)}
_DEEP = ("RGB;16B", "RGBA;16B")
_SMALL_GREY = {"L;2": 85, "L;4": 17}
_LARGEST = 1 << 24  # bytes of a chunk that is read here, and of a profile


class _Chunk(NamedTuple):
    """A chunk's kind, and where it lies in the file: from its length to behind its checksum."""

    kind: bytes
    start: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + 12 + self.length


class _Facts(NamedTuple):
    """What a PNG says of its colours: an ICC profile, or what stands in its place."""

    profile: bytes | None = None
    space: Space | None = None


def open_png(stream: BinaryIO, name: str) -> Opened:
    """Read the header of a PNG, at whose beginning the stream is.

    Raises:
        PictureError: for Apple's own variant.
    """
    kept, bodies = _survey(stream, name)
    facts = _facts(bodies, name)
    image = _image(stream, kept)

    def decode() -> Decoded:
        if facts.profile is not None:
            image.info["icc_profile"] = facts.profile
        bits = _rawmode(image)
        if bits in _DEEP and (facts.space is not None or "transparency" in image.info):
            return _deep(image, _image(stream, kept), facts.space)
        image.load()
        if bits == "1" and "transparency" in image.info:  # not every Pillow knows it there
            white = np.asarray(image.convert("L"))
            cover = ((white > 0) != bool(image.info["transparency"])) * np.uint8(255)
            return _finished(image, white, cover)._replace(space=facts.space)
        if bits in _SMALL_GREY and "transparency" in image.info:  # Pillow scales the grey, but not this one
            image.info["transparency"] *= _SMALL_GREY[bits]
        if facts.space is not None and image.mode in ("I;16", "I;16B", "I"):
            return _deep_grey(image, facts.space)
        return Decoded(image, space=facts.space)

    return Opened(image.size, decode, image)


def _survey(stream: BinaryIO, name: str) -> tuple[list[Piece], dict[bytes, bytes]]:
    """Which parts of the file Pillow is shown, and what is in the chunks that are read here."""
    bodies: dict[bytes, bytes] = {}
    kept: list[Piece] = [(0, _SIGNATURE)]
    end = _SIGNATURE
    for chunk in _chunks(stream):
        end = chunk.stop
        if chunk.kind == b"CgBI":
            raise PictureError(f"{name} is Apple's own variant of PNG (CgBI), which only iOS reads; export it anew.")
        if chunk.kind in _COLOUR or chunk.kind in _NEEDED:
            body = _body(stream, chunk)
            if body is None or len(body) not in _LENGTHS.get(chunk.kind, (len(body),)):
                logger.warning("ignoring the chunk %s of %s: damaged, or too large", chunk.kind.decode(), name)
                continue
            bodies.setdefault(chunk.kind, body)
        if chunk.kind in _NEEDED or chunk.kind[:1].isupper():
            kept.append((chunk.start, chunk.stop))
    kept.append((end, stream.seek(0, io.SEEK_END)))  # what is no chunk is the decoder's business
    return kept, bodies


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """The chunks up to IEND, or to where the file is none any more."""
    at = _SIGNATURE
    while True:
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or not head[4:].isalpha():
            return
        chunk = _Chunk(head[4:], at, int.from_bytes(head[:4], "big"))
        yield chunk
        if chunk.kind == b"IEND":
            return
        at = chunk.stop


def _body(stream: BinaryIO, chunk: _Chunk) -> bytes | None:
    """What is in a chunk; None if its checksum is wrong or it is very large."""
    if chunk.length > _LARGEST:
        return None
    stream.seek(chunk.start + 8)
    body, check = stream.read(chunk.length), stream.read(4)
    return body if int.from_bytes(check, "big") == zlib.crc32(chunk.kind + body) else None


def _facts(bodies: dict[bytes, bytes], name: str) -> _Facts:
    """By the order of the third edition of the standard: cICP, iCCP, sRGB, then cHRM and gAMA."""
    cicp = bodies.get(b"cICP", b"")
    if len(cicp) == 4 and cicp[2:] == b"\0\1":  # RGB, all values used; television's range is shown by no viewer
        primaries, transfer = cicp[:2]
        if primaries in spaces.PRIMARIES:
            return _Facts(space=spaces.from_cicp(primaries, transfer))
    if profile := _profile(bodies.get(b"iCCP", b""), name):
        return _Facts(profile=profile)
    gamma = bodies.get(b"gAMA", b"")
    if b"sRGB" in bodies or len(gamma) != 4:
        return _Facts()
    corners = bodies.get(b"cHRM", b"")
    chromaticities = None
    if len(corners) == 32:
        chromaticities = cast(spaces.Chromaticities, tuple(value / 100_000 for value in struct.unpack(">8I", corners)))
    return _Facts(space=spaces.from_gamma(int.from_bytes(gamma, "big"), chromaticities))


def _profile(body: bytes, name: str) -> bytes | None:
    """The profile in an iCCP chunk: a name, a zero, the method 0, and compressed data."""
    _, _, rest = body.partition(b"\0")
    if not rest:
        return None
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(rest[1:], _LARGEST)
    except zlib.error as error:
        logger.warning("ignoring the colour profile of %s, which is damaged: %s", name, error)
        return None
    if not inflate.eof:
        logger.warning("ignoring the colour profile of %s, which is cut short or too large", name)
        return None
    return profile


def _image(stream: BinaryIO, kept: list[Piece]) -> PngImagePlugin.PngImageFile:
    return PngImagePlugin.PngImageFile(join(stream, kept))


def _rawmode(image: PngImagePlugin.PngImageFile) -> str:
    return str(image.tile[0][3]) if image.tile else ""


def _deep(upper: PngImagePlugin.PngImageFile, lower: PngImagePlugin.PngImageFile, space: Space | None) -> Decoded:
    """16-bit colours that need all their bits: for a transparent colour, or for light that is not sRGB's.

    Pillow keeps one byte of two; asked for the other end of a value, it keeps the other one.
    """
    codec, box, offset, rawmode = lower.tile[0]
    lower.tile = [(codec, box, offset, str(rawmode).replace("16B", "16L"))]  # type: ignore[list-item]  # as in every Pillow
    upper.load()
    lower.load()
    values = np.asarray(upper).astype(np.uint16)
    values <<= 8
    values |= np.asarray(lower)
    rgb, key = values[..., :3], upper.info.get("transparency")
    if key is not None:
        cover = (rgb != np.array(key, np.uint16)).any(axis=-1) * np.uint8(255)
    else:
        cover = (values[..., 3] >> 8).astype(np.uint8) if values.shape[2] == 4 else None
    shown = (rgb >> 8).astype(np.uint8) if space is None else space.convert(rgb)
    return _finished(upper, shown, cover)


def _deep_grey(image: PngImagePlugin.PngImageFile, space: Space) -> Decoded:
    """16-bit grey that is not sRGB's."""
    values = np.asarray(image).astype(np.uint16)
    key = image.info.get("transparency")
    cover = None if key is None else (values != key) * np.uint8(255)
    return _finished(image, space.convert(np.broadcast_to(values[..., None], (*values.shape, 3))), cover)


def _finished(source: Image.Image, pixels: NDArray[np.uint8], cover: NDArray[np.uint8] | None) -> Decoded:
    image = Image.fromarray(pixels)
    image.info = {key: value for key, value in source.info.items() if key != "transparency"}
    return Decoded(image, None if cover is None else Image.fromarray(cover))
