"""The boxes of AVIF and HEIC files: which kind a file is, and the colours of its picture."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from birefnet.pixels import spaces
from birefnet.pixels.spaces import Space

_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = tuple(b"heic heix heim heis hevc hevx hevm hevs".split())
_CONTAINER_BRANDS = tuple(b"mif1 mif2 miaf msf1 MiHB MiHE MiPr MA1A MA1B".split())  # of any codec
_LARGEST = 1 << 20  # bytes of the boxes that are read


def kind_of(start: bytes) -> str | None:
    """ "AVIF" or "HEIC", by the brands in the first box, else None."""
    if start[4:8] != b"ftyp":
        return None
    size = int.from_bytes(start[:4], "big")
    brands = [start[i : i + 4] for i in (8, *range(16, min(size, len(start)), 4))]
    if brands[0] in _AVIF_BRANDS:
        return "AVIF"
    if brands[0] in _HEIF_BRANDS:
        return "HEIC"
    if brands[0] not in _CONTAINER_BRANDS:
        return None
    return "AVIF" if any(brand in _AVIF_BRANDS for brand in brands) or b"av01" in start else "HEIC"


def named_avif(stream: BinaryIO) -> BinaryIO:
    """The same file under the brand that decoders ask for."""
    start = stream.read(4096)
    size = int.from_bytes(start[:4], "big")
    if any(start[i : i + 4] in _AVIF_BRANDS for i in (8, *range(16, min(size, len(start)), 4))):
        stream.seek(0)
        return stream
    return io.BytesIO(start[:8] + b"avif" + start[12:] + stream.read())


def find_space(stream: BinaryIO) -> Space | None:
    """The colours of the main picture, by its box `colr` of kind `nclx`; None for sRGB, or where nothing is said."""
    stream.seek(0)
    for kind, start, stop in _file_boxes(stream):
        if kind == b"meta":
            stream.seek(start)
            return _space(stream.read(min(stop - start, _LARGEST)))
    return None


def _space(meta: bytes) -> Space | None:
    boxes = dict(_boxes(meta[4:]))  # behind version and flags
    properties = dict(_boxes(boxes.get(b"iprp", b"")))
    listed = list(_boxes(properties.get(b"ipco", b"")))
    own = _properties_of(_main_item(boxes.get(b"pitm", b"")), properties.get(b"ipma", b""))
    colours = {n: body for n, (kind, body) in enumerate(listed, 1) if kind == b"colr" and body[:4] == b"nclx"}
    body = next((colours[n] for n in own if n in colours), None) or next(iter(colours.values()), None)
    if body is None or len(body) < 8:
        return None
    primaries, transfer = struct.unpack(">HH", body[4:8])
    return spaces.from_cicp(primaries, transfer, video=True)


def _file_boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box of a file."""
    at = 0
    while True:
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        stop = at + size if size else stream.seek(0, io.SEEK_END)
        if stop < start:
            return
        yield head[4:8], start, stop
        at = stop


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box in another."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big") or len(data) - at
        if size < 8:
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


def _main_item(pitm: bytes) -> int:
    return int.from_bytes(pitm[4 : 8 if pitm[:1] == b"\1" else 6], "big")


def _properties_of(item: int, ipma: bytes) -> list[int]:
    """The numbers, from 1, of an item's properties."""
    if len(ipma) < 8:
        return []
    wide_item, wide_index = ipma[0] >= 1, ipma[3] & 1
    at = 8
    for _ in range(int.from_bytes(ipma[4:8], "big")):
        width = 4 if wide_item else 2
        name = int.from_bytes(ipma[at : at + width], "big")
        count = int.from_bytes(ipma[at + width : at + width + 1], "big")
        at += width + 1
        step = 2 if wide_index else 1
        indices = [int.from_bytes(ipma[i : i + step], "big") for i in range(at, at + count * step, step)]
        if name == item:
            return [index & (0x7FFF if wide_index else 0x7F) for index in indices]
        at += count * step
        if at >= len(ipma):
            break
    return []
