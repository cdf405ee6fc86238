"""TIFF: which of its pages is the picture, and who reads it; cameras' raw files, which look alike, are refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, Literal

from PIL import ImagePalette, TiffImagePlugin

from birefnet.errors import PictureError
from birefnet.pixels import tiff_samples
from birefnet.pixels.opened import Decoded, Opened
from birefnet.pixels.pieces import join

Page = TiffImagePlugin.ImageFileDirectory_v2

_BIG_AND_BIG = b"MM\0\x2b"  # the header of a BigTIFF in big-endian order, which Pillow takes for a small one
_MOST_PAGES = 64  # that are looked at for the picture
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SUBFILE, _OLD_SUBFILE, _COMPRESSION, _PHOTOMETRIC = 254, 255, 259, 262
_MAKE, _COLOUR_MAP, _SUB_PAGES, _DNG_VERSION = 271, 320, 330, 50706
_PALETTE, _CFA, _LINEAR_RAW = 3, 32803, 34892  # photometric interpretations
_RAW_COMPRESSIONS = (32767, 34713, 65535)  # of Sony, Nikon and Pentax
_DECODABLE = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34925, 50000, 50001))


def open_tiff(stream: BinaryIO, name: str) -> Opened:
    """Read the header of a TIFF, at whose beginning the stream is, and choose its picture.

    Raises:
        PictureError: for a camera's raw file, and for a kind of TIFF that is not supported.
    """
    header = stream.read(16)
    pages = _pages(stream, header, _first(header))
    if not pages:
        raise PictureError(f"{name} looks like TIFF, but is damaged or cut short: it has no pages.")
    below = [sub for page in pages.values() for at in _sub_pages(page) for sub in _pages(stream, header, at).items()]
    _refuse_raw(header, [*pages.values(), *(page for _, page in below)], name)
    whole = next((item for item in (*pages.items(), *below) if not _is_secondary(item[1])), None)
    offset, page = whole or max(pages.items(), key=lambda item: item[1][256] * item[1][257])
    compression = page.get(_COMPRESSION, 1)
    if compression not in _DECODABLE:
        raise PictureError(f"{name} is a TIFF compressed by method {compression}, which is not supported.")
    if tiff_samples.is_ours(page) or (header[:4] == _BIG_AND_BIG and tiff_samples.can_unpack(page)):
        return tiff_samples.open_samples(stream, page, name)
    if header[:4] == _BIG_AND_BIG:
        kind = tiff_samples.describe(page)
        raise PictureError(f"{name} is a BigTIFF of a kind that is supported in little-endian files only: {kind}.")
    if offset == _first(header):
        stream.seek(0)
        return _open_with_pillow(stream, page, name)
    size = 8 if _is_big(header) else 4
    start = header[:size] + offset.to_bytes(size, _order(header))
    return _open_with_pillow(join(stream, [start, (len(start), stream.seek(0, io.SEEK_END))]), page, name)


def _open_with_pillow(stream: BinaryIO, page: Page, name: str) -> Opened:
    try:
        image = TiffImagePlugin.TiffImageFile(stream)
    except SyntaxError as error:
        if "unknown pixel mode" not in str(error):
            raise
        raise PictureError(
            f"{name} is a TIFF of a kind that is not supported: {tiff_samples.describe(page)}."
        ) from error

    def decode() -> Decoded:
        colours = page.get(_COLOUR_MAP, ())
        if page.get(_PHOTOMETRIC) == _PALETTE and colours and 0 < max(colours) < 256:  # 8 bits where 16 are due
            image.palette = ImagePalette.raw("RGB;L", bytes(colours))
        image.load()
        return Decoded(image)

    return Opened(image.size, decode, image)


def _order(header: bytes) -> Literal["little", "big"]:
    return "little" if header[:2] == b"II" else "big"


def _is_big(header: bytes) -> bool:
    """Whether offsets have 8 bytes."""
    return header[2:4] in (b"\x2b\0", b"\0\x2b")


def _first(header: bytes) -> int:
    """Where the first page's tags are."""
    return int.from_bytes(header[8:16] if _is_big(header) else header[4:8], _order(header))


def _pages(stream: BinaryIO, header: bytes, offset: int) -> dict[int, Page]:
    """The pages from one on, by where their tags are; what cannot be read ends them."""
    pages: dict[int, Page] = {}
    while offset and offset not in pages and len(pages) < _MOST_PAGES:
        page = Page((b"II*\0" if header[:2] == b"II" else b"MM\0*") + bytes(4))
        page._bigtiff = _is_big(header)
        try:
            stream.seek(offset)
            page.load(stream)
        except Exception:  # foreign data: the parser fails in many ways
            break
        if not {256, 257} <= set(page):
            break
        pages[offset] = page
        offset = page.next
    return pages


def _sub_pages(page: Page) -> tuple[int, ...]:
    offsets = page.get(_SUB_PAGES, ())
    return (offsets,) if isinstance(offsets, int) else tuple(offsets)


def _is_secondary(page: Page) -> bool:
    """Whether a page is marked as a smaller copy of another, or as its mask."""
    return bool(page.get(_SUBFILE, 0) & (_REDUCED | _MASK)) or page.get(_OLD_SUBFILE) == 2


def _refuse_raw(header: bytes, pages: Sequence[Page], name: str) -> None:
    """Refuse what a camera's sensor saw: what can be read of such a file is only a preview."""
    kind = None
    if header[8:10] == b"CR":
        kind = "CR2"
    elif any(
        page.get(_PHOTOMETRIC) in (_CFA, _LINEAR_RAW) or page.get(_COMPRESSION) in _RAW_COMPRESSIONS for page in pages
    ) or (_DNG_VERSION in pages[0] and _is_secondary(pages[0])):
        nikon = str(pages[0].get(_MAKE, "")).upper().startswith("NIKON")
        kind = "DNG" if _DNG_VERSION in pages[0] else "NEF" if nikon else None
    else:
        return
    shown = f" ({kind})" if kind else ""
    raise PictureError(
        f"{name} is a camera's raw file{shown}, of which only a preview can be read; develop it to TIFF or JPEG first."
    )
