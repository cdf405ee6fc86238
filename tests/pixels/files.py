"""Files that Pillow does not write, made for tests."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def broken(kind: bytes, body: bytes) -> bytes:
    """A chunk whose checksum is wrong."""
    whole = chunk(kind, body)
    return whole[:-1] + bytes([whole[-1] ^ 1])


def png(array: np.ndarray, *extra: bytes, behind: bytes = b"") -> bytes:
    """(H, W[, 2..4]) uint8 or uint16 -> a PNG with these chunks before, and those behind its data."""
    height, width = array.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2] if array.ndim == 3 else 1]
    rows = array.astype(f">u{array.dtype.itemsize}").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * array.dtype.itemsize, kind, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(raw)) + behind + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + end


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chromaticities(*values: float) -> bytes:
    """White, red, green and blue, x and y each."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def tiff_page(order: str, start: int, tags: dict[int, Any]) -> bytes:
    """One page's tags as they lie at `start`; values are whole numbers, or bytes."""
    head, rest = struct.pack(f"{order}H", len(tags)), b""
    behind = start + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, count, data = 1, len(value), value
        else:
            values = value if isinstance(value, tuple) else (value,)
            kind, count, data = 4, len(values), struct.pack(f"{order}{len(values)}I", *values)
        head += struct.pack(f"{order}HHI", tag, kind, count)
        if len(data) <= 4:
            head += data.ljust(4, b"\0")
        else:
            head += struct.pack(f"{order}I", behind + len(rest))
            rest += data + bytes(len(data) % 2)
    return head + bytes(4) + rest


def tiff(array: np.ndarray, order: str = "<", *, planar: bool = False, tile: int = 0, **tags: Any) -> bytes:
    """(H, W, samples) of any numbers -> an uncompressed TIFF; `tags` are t258=... by number.

    Args:
        planar: each sample in a plane of its own.
        tile: side of square tiles; 0 for one strip.
    """
    height, width, samples = array.shape
    formats = {"u": 1, "i": 2, "f": 3}
    data = array.astype(array.dtype.newbyteorder(order))
    planes = [data[..., n : n + 1] for n in range(samples)] if planar else [data]
    blocks = [block for plane in planes for block in _blocks(plane, tile)]
    offsets, body = [], b""
    for block in blocks:
        offsets.append(8 + len(body))
        body += block
    where, sizes = (324, 325) if tile else (273, 279)
    page: dict[int, Any] = {256: width, 257: height, 258: (8 * array.dtype.itemsize,) * samples, 259: 1}
    page |= {277: samples, 284: 2 if planar else 1, 339: (formats[array.dtype.kind],) * samples}
    page |= {where: tuple(offsets), sizes: tuple(map(len, blocks)), 262: 2 if samples >= 3 else 1}
    page |= {322: tile, 323: tile} if tile else {278: height}
    page |= {int(name[1:]): value for name, value in tags.items()}
    body += bytes(len(body) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + tiff_page(order, 8 + len(body), page)


def _blocks(plane: np.ndarray, tile: int) -> list[bytes]:
    if not tile:
        return [plane.tobytes()]
    height, width = plane.shape[:2]
    padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [padded[y : y + tile, x : x + tile].tobytes() for y in range(0, height, tile) for x in range(0, width, tile)]
