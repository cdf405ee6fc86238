"""TIFF samples that Pillow reads wrongly or not at all: planes, signed and floating-point numbers, odd depths, CMYKA.

Pillow still unpacks the data: it is shown a page of the same bytes that pretends to be 8-bit grey. What the bytes mean
is decided here.
"""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from birefnet.errors import PictureError
from birefnet.pixels.colour import shares
from birefnet.pixels.opened import Decoded, Opened
from birefnet.pixels.pieces import join
from birefnet.pixels.strips import strips

Page = TiffImagePlugin.ImageFileDirectory_v2

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _ORIENTATION, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES = 273, 274, 277, 278, 279
_X_RESOLUTION, _Y_RESOLUTION, _PLANAR, _UNIT, _PREDICTOR = 282, 283, 284, 296, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _INKS, _EXTRA, _FORMAT, _PROFILE = (
    322,
    323,
    324,
    325,
    332,
    338,
    339,
    34675,
)

_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # photometric interpretation -> how many samples are colours
_PHOTOMETRICS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "separated", 6: "YCbCr", 8: "CIELab"}
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "unsigned", 5: "complex", 6: "complex"}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_BYTE_STREAMS = (1, 5, 8, 32773, 32946, 34925, 50000)  # compressions that know nothing of what they pack
_ASSOCIATED, _UNASSOCIATED = 1, 2  # extra samples


class _Layout(NamedTuple):
    """How a page's samples lie.

    Attributes:
        width, height: in pixels.
        samples: per pixel.
        bits: per sample.
        kind: "u", "i" or "f".
        planes: whether each sample has a plane of its own.
        block: (width, height) of a tile, or of a strip, in pixels.
        tiled: which of the two.
        order: of bytes, "<" or ">".
    """

    width: int
    height: int
    samples: int
    bits: int
    kind: str
    planes: bool
    block: tuple[int, int]
    tiled: bool
    order: str

    @property
    def together(self) -> int:
        """Samples of a pixel that lie together."""
        return 1 if self.planes else self.samples


def is_ours(page: Page) -> bool:
    """Whether a page is read here: not if Pillow does it rightly, nor if its data is compressed as a picture."""
    bits, formats = _numbers(page, _BITS, 1), _numbers(page, _FORMAT, 1)
    samples, photometric = page.get(_SAMPLES, 1), page.get(_PHOTOMETRIC, 1)
    if not can_unpack(page):
        return False
    if samples > 1 and (photometric == 0 or page.get(_PLANAR, 1) == 2):
        return True
    if samples == 1 and photometric == 1 and (bits[0], formats[0]) in ((16, 1), (32, 3)):
        return False
    if set(formats) - {1} or (photometric == 5 and samples > 4):
        return True
    plain_colour = photometric == 2 and set(bits) == {16} and samples in (3, 4) and page.get(_PLANAR, 1) == 1
    return max(bits) > 8 and not plain_colour


def can_unpack(page: Page) -> bool:
    """Whether a page's data is compressed as bytes, and its colours are of a kind that is known here."""
    return page.get(_COMPRESSION, 1) in _BYTE_STREAMS and page.get(_PHOTOMETRIC, 1) in _COLOURS


def describe(page: Page) -> str:
    """What a page is, for a sentence: `RGB, 3 samples of 24 bits, floating-point`."""
    photometric = page.get(_PHOTOMETRIC, "none")
    bits = sorted(set(_numbers(page, _BITS, 1)))
    samples = page.get(_SAMPLES, 1)
    kind = _FORMATS.get(_numbers(page, _FORMAT, 1)[0], "unknown")
    depth = " and ".join(map(str, bits))
    many = "sample" if samples == 1 else "samples"
    return f"{_PHOTOMETRICS.get(photometric, f'colours {photometric}')}, {samples} {many} of {depth} bits, {kind}"


def open_samples(stream: BinaryIO, page: Page, name: str) -> Opened:
    """Take a page that `is_ours`.

    Raises:
        PictureError: if it is of a kind that is not supported.
    """
    layout = _layout(page)
    if layout is None:
        raise PictureError(f"{name} is a TIFF of a kind that is not supported: {describe(page)}.")

    def decode() -> Decoded:
        planes = [
            _unpack(_bytes(stream, page, layout, plane), layout, page.get(_PREDICTOR, 1))
            for plane in range(layout.samples if layout.planes else 1)
        ]
        values = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)
        return _picture(values, page)

    return Opened((layout.width, layout.height), decode)


def _only_page(stream: BinaryIO, prefix: bytes, tags: dict[int, tuple[int, ...]]) -> BinaryIO:
    """The file with a single page of these tags, whose numbers all have 32 bits."""
    length = stream.seek(0, io.SEEK_END)
    at = length + length % 2
    order = "<" if prefix == b"II" else ">"
    rows, rest = struct.pack(f"{order}H", len(tags)), b""
    behind = at + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        rows += struct.pack(f"{order}HHI", tag, 4, len(values))
        rows += packed if len(values) == 1 else struct.pack(f"{order}I", behind + len(rest))
        rest += b"" if len(values) == 1 else packed
    head = (b"II*\0" if prefix == b"II" else b"MM\0*") + struct.pack(f"{order}I", at)
    return join(stream, [head, (8, length), bytes(length % 2) + rows + bytes(4) + rest])


def _numbers(page: Page, tag: int, default: int) -> tuple[int, ...]:
    value = page.get(tag, default)
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _layout(page: Page) -> _Layout | None:
    """How a page's samples lie; None if they are of a kind that is not supported."""
    bits, formats = set(_numbers(page, _BITS, 1)), set(_numbers(page, _FORMAT, 1))
    samples, photometric = int(page.get(_SAMPLES, 1)), page.get(_PHOTOMETRIC, 1)
    if len(bits) != 1 or len(formats) != 1 or samples < _COLOURS[photometric] or samples > 32:
        return None
    (depth,), kind = bits, _KINDS.get(formats.pop())
    allowed = {"u": range(1, 65), "i": (8, 16, 32, 64), "f": (16, 32, 64)}.get(kind or "", ())
    whole = depth in (8, 16, 32, 64)
    predictor = page.get(_PREDICTOR, 1)
    if depth not in allowed or (depth > 16 and not whole) or (predictor == 2 and not whole) or predictor > 3:
        return None
    if (predictor == 3 and kind != "f") or (photometric == 5 and page.get(_INKS, 1) != 1):
        return None
    width, height = int(page[_WIDTH]), int(page[_HEIGHT])
    tiled = _TILES in page
    block = (page[_TILE_WIDTH], page[_TILE_HEIGHT]) if tiled else (width, min(height, page.get(_STRIP_ROWS, height)))
    order = "<" if page.prefix == b"II" else ">"
    return _Layout(width, height, samples, depth, kind or "", page.get(_PLANAR, 1) == 2, block, tiled, order)


def _bytes(stream: BinaryIO, page: Page, layout: _Layout, plane: int) -> NDArray[np.uint8]:
    """The unpacked bytes of a page, or of one of its planes: (H, blocks in a row, bytes in a block's row) uint8."""
    across = -(-layout.width // layout.block[0])
    row = -(-layout.block[0] * layout.together * layout.bits // 8)
    where, sizes = (_TILES, _TILE_BYTES) if layout.tiled else (_STRIPS, _STRIP_BYTES)
    count = across * -(-layout.height // layout.block[1])
    mine = slice(plane * count, (plane + 1) * count)
    offsets, lengths = _numbers(page, where, 0)[mine], _numbers(page, sizes, 0)[mine]
    if len(offsets) < count:
        raise PictureError("Some of its data is nowhere.")
    tags = {_WIDTH: across * row, _HEIGHT: layout.height, _BITS: 8, _COMPRESSION: page.get(_COMPRESSION, 1)}
    tags |= {_PHOTOMETRIC: 1, _SAMPLES: 1, _FILL_ORDER: page.get(_FILL_ORDER, 1)}
    tags |= {_TILE_WIDTH: row, _TILE_HEIGHT: layout.block[1]} if layout.tiled else {_STRIP_ROWS: layout.block[1]}
    data = {where: offsets, sizes: lengths} if len(lengths) == count else {where: offsets}
    alone = _only_page(stream, page.prefix, {tag: (value,) for tag, value in tags.items()} | data)
    with TiffImagePlugin.TiffImageFile(alone) as image:
        image.load()
        return np.asarray(image).reshape(layout.height, across, row)


def _unpack(packed: NDArray[np.uint8], layout: _Layout, predictor: int) -> NDArray[Any]:
    """Bytes -> numbers, (H, W, samples that lie together), of the machine's own kind."""
    height, across, _ = packed.shape
    shape = (height, across, layout.block[0], layout.together)
    if layout.bits not in (8, 16, 32, 64):
        values = _unpack_bits(packed, layout).reshape(shape)
    elif predictor == 3:
        values = _unpack_floats(packed, layout).reshape(shape)
    else:
        unsigned = np.dtype(f"{layout.order}u{layout.bits // 8}")
        values = np.ascontiguousarray(packed).view(unsigned).reshape(shape).astype(unsigned.newbyteorder("="))
        if predictor == 2:
            np.cumsum(values, axis=2, dtype=values.dtype, out=values)
        values = values.view(f"={layout.kind}{layout.bits // 8}")
    return values.reshape(height, -1, layout.together)[:, : layout.width]


def _unpack_bits(packed: NDArray[np.uint8], layout: _Layout) -> NDArray[np.uint16]:
    """Numbers of odd depths, packed one behind the other, the highest bit first."""
    height, across, _ = packed.shape
    numbers = layout.block[0] * layout.together
    out = np.empty((height, across, numbers), np.uint16)
    weights = 1 << np.arange(layout.bits - 1, -1, -1, dtype=np.uint16)
    for row in range(height):
        bits = np.unpackbits(packed[row], axis=-1)[:, : numbers * layout.bits]
        out[row] = bits.reshape(across, numbers, layout.bits) @ weights
    return out


def _unpack_floats(packed: NDArray[np.uint8], layout: _Layout) -> NDArray[Any]:
    """Undo the floating-point predictor: differences of bytes, and a row's highest bytes before its lower ones."""
    size = layout.bits // 8
    pixels = packed.reshape(*packed.shape[:2], -1, layout.together)
    planes = np.cumsum(pixels, axis=2, dtype=np.uint8).reshape(*packed.shape[:2], size, -1)
    whole = np.ascontiguousarray(planes.swapaxes(-1, -2))
    return whole.view(f">f{size}").astype(f"=f{size}")


def _picture(values: NDArray[Any], page: Page) -> Decoded:
    """(H, W, samples) numbers -> 8-bit grey, RGB or CMYK, with its alpha."""
    photometric, bits = page.get(_PHOTOMETRIC, 1), _numbers(page, _BITS, 1)[0]
    count = _COLOURS[photometric]
    extras = _numbers(page, _EXTRA, _UNASSOCIATED)[: values.shape[2] - count]
    index = next((n for n, kind in enumerate(extras) if kind in (_ASSOCIATED, _UNASSOCIATED)), None)
    to_shares = shares(values[..., :count], bits)
    colours = np.empty((*values.shape[:2], count), np.uint8)
    cover = None
    if index is not None:
        cover_to_shares = shares(values[..., count + index], bits)
        cover = np.empty(values.shape[:2], np.uint8)
    for rows in strips(*values.shape[:2]):
        part = to_shares(values[rows, :, :count])
        if cover is not None and index is not None:
            alpha = cover_to_shares(values[rows, :, count + index])
            cover[rows] = alpha * np.float32(255) + np.float32(0.5)
            if extras[index] == _ASSOCIATED:
                np.divide(part, alpha[..., None], out=part, where=alpha[..., None] > 0)
                np.minimum(part, 1, out=part)
        if photometric == 0:
            np.subtract(1, part, out=part)
        colours[rows] = part * np.float32(255) + np.float32(0.5)
    if photometric == 5:
        image = Image.frombuffer("CMYK", colours.shape[1::-1], colours, "raw", "CMYK", 0, 1)
    else:
        image = Image.fromarray(colours[..., 0] if count == 1 else colours)
    _copy_facts(page, image)
    return Decoded(image, None if cover is None else Image.fromarray(cover))


def _copy_facts(page: Page, image: Image.Image) -> None:
    """What the page says of its colours, orientation and resolution, where Pillow has it for other pictures."""
    if _PROFILE in page:
        image.info["icc_profile"] = page[_PROFILE]
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = page.get(_ORIENTATION, 1)
    for tag in (_X_RESOLUTION, _Y_RESOLUTION, _UNIT):
        if tag in page:
            exif[tag] = page[tag]
