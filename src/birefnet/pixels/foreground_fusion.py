"""Blur fusion: the colours of the subject at its soft edge, from box blurs alone.

Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021. A pixel is I = a F + (1 - a) B. Take for F and B
the means of what lies around, each weighted by its own share of every pixel, and put the rest of I where it belongs:

    F' = F + a (I - a F - (1 - a) B)

once with a wide window, whose F' and B are then blurred in place of the picture with a narrow one. Means over an even
window reach one pixel further up and left, and beyond the picture's border it is mirrored without repeating the
outermost pixel, as OpenCV's `blur` does.

This is the same function, not a likeness of it. It is quick because it works only where an edge is near
(`foreground_tiles`), on a few rows at a time, which stay in a cache, and because the wide window's sums are whole
numbers: running sums of these are exact, even when they run over, since only differences are used.

Legend: h w sides of a tile; stacks are (h, 7, w): q, q R, q G, q B, and then R, G, B times what q lacks,
where q is the alpha, as whole numbers up to `STEPS` in the first pass and as fractions in the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.pixels.foreground_tiles import Tile, tiles
from birefnet.pixels.strips import workers

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int32]
Floats = NDArray[np.float32]
Index = NDArray[np.intp]

WIDE, NARROW = 90, 6  # sides of the two windows, in pixels
STEPS = 1020  # of alpha: as fine as sums over 90 x 90 pixels of 255 allow in 31 bits, and 8-bit alphas stay exact
SMALL = 1e-5  # added to a mean alpha before it divides
CHUNK = 45  # rows at a time: enough for threads to pay, few enough for a cache


def blur_fusion(rgb: Bytes, alpha: Floats, *, wide: int = WIDE, threads: int | None = None) -> Bytes:
    """(H, W, 3) uint8 and (H, W) alpha in [0, 1] -> the subject's colours, (H, W, 3) uint8.

    Where alpha is 1 the picture's own; where it is 0, those of the subject's edge for three pixels, then black.

    Args:
        wide: side of the first window, 2 to 90.
        threads: that may be used; None for the default.
    """
    assert 2 <= wide <= WIDE, wide
    out = rgb.copy()
    empty, edges = tiles(alpha, 0.5 / STEPS, halo=wide + NARROW)
    for top, bottom, left, right in empty:
        out[top:bottom, left:right] = 0

    def fill(tile: Tile) -> None:
        _estimate(rgb, alpha, tile, wide, out)

    count = workers(threads)
    if count > 1:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(fill, edges))
    else:
        for tile in edges:
            fill(tile)
    return out


def _estimate(rgb: Bytes, alpha: Floats, tile: Tile, wide: int, out: Bytes) -> None:
    """Both passes for one tile, written to its place in `out`."""
    height, width = alpha.shape
    before, after = NARROW // 2, NARROW - NARROW // 2 - 1
    # What the narrow window sees: the tile and a little more, as far as there is a picture.
    rows = np.arange(max(0, tile.top - before), min(height, tile.bottom + after))
    columns = np.arange(max(0, tile.left - before), min(width, tile.right + after))
    stack = _first_pass(rgb, alpha, rows, columns, wide)
    stack = _taken(stack, _mirrored(np.arange(tile.top - before, tile.bottom + after), height) - rows[0], axis=0)
    stack = _taken(stack, _mirrored(np.arange(tile.left - before, tile.right + after), width) - columns[0], axis=2)
    place = out[tile.top : tile.bottom, tile.left : tile.right]
    a = _fractions(alpha[tile.top : tile.bottom, tile.left : tile.right])
    colours = rgb[tile.top : tile.bottom, tile.left : tile.right]
    for start in range(0, len(place), CHUNK):
        some = slice(start, start + CHUNK)
        sums = _window(_window(stack[start : start + CHUNK + NARROW - 1], NARROW, axis=0), NARROW, axis=2)
        final = _fuse(_planes(colours[some], np.float32), a[some, None], *_means(sums, NARROW * NARROW))
        final += 0.5  # what follows rounds down
        for channel in range(3):
            place[some, :, channel] = final[:, channel]


def _first_pass(rgb: Bytes, alpha: Floats, rows: Index, columns: Index, wide: int) -> Floats:
    """The stack of the narrow window: alpha, and the first pass's colours of subject and scene with their shares."""
    stack = np.empty((len(rows), 7, len(columns)), np.float32)
    a = _fractions(alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    colours = rgb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    start = 0
    for sums in _wide_sums(rgb, alpha, rows, columns, wide):
        some = slice(start, start + len(sums))
        front, back = _means(sums, wide * wide * STEPS)
        share = a[some, None]
        part = stack[some]
        part[:, :1] = share
        np.multiply(_fuse(_planes(colours[some], np.float32), share, front, back), share, out=part[:, 1:4])
        np.multiply(back, 1 - share, out=part[:, 4:])
        start = some.stop
    return stack


def _wide_sums(rgb: Bytes, alpha: Floats, rows: Index, columns: Index, wide: int) -> Iterator[Floats]:
    """The wide window's sums at rows x columns, some rows at a time: (n, 7, w).

    The columns' sums run down the picture. A ring of rows holds what the window covers: a row is taken away from the
    sums when the one that takes its place in the ring is added.
    """
    before, after = wide // 2, wide - wide // 2 - 1
    seen_rows = _mirrored(np.arange(rows[0] - before, rows[-1] + after + 1), alpha.shape[0])
    seen_columns = _mirrored(np.arange(columns[0] - before, columns[-1] + after + 1), alpha.shape[1])
    step = max(n for n in range(1, CHUNK + 1) if wide % n == 0)
    ring = np.zeros((wide, 7, len(seen_columns)), np.int32)
    total = np.zeros(ring.shape[1:], np.int32)
    for start in range(0, len(seen_rows), step):
        fresh = _stack(rgb, alpha, seen_rows[start : start + step], seen_columns)
        old = ring[start % wide :][: len(fresh)]
        sums = fresh - old
        old[:] = fresh
        for row in sums:
            row += total
            total = row
        if start + step >= wide:
            yield _along(sums[max(0, wide - 1 - start) :], wide)


def _stack(rgb: Bytes, alpha: Floats, rows: Index, columns: Index) -> Whole:
    """The shares of subject and scene at some rows and columns of the picture."""
    q = _whole(_taken(_taken(alpha, rows, axis=0), columns, axis=1))[:, None]
    colours = _planes(_taken(_taken(rgb, rows, axis=0), columns, axis=1), np.int32)
    stack = np.empty((len(rows), 7, len(columns)), np.int32)
    stack[:, :1] = q
    np.multiply(colours, q, out=stack[:, 1:4])
    np.multiply(colours, STEPS - q, out=stack[:, 4:])
    return stack


def _along(down: Whole, side: int) -> Floats:
    """Sums over `side` neighbours along the last axis, which becomes `side` - 1 shorter."""
    total = np.cumsum(down, axis=-1, dtype=np.int32)  # may run over: the differences are right all the same
    out = np.empty((*total.shape[:-1], total.shape[-1] - side + 1), np.float32)
    out[..., 0] = total[..., side - 1]
    out[..., 1:] = total[..., side:] - total[..., :-side]
    return out


def _window(stack: Floats, side: int, *, axis: int) -> Floats:
    """Sums over `side` (even) neighbours along one axis, which becomes `side` - 1 shorter."""

    def part(array: Floats, start: int, stop: int) -> Floats:
        return array[start:stop] if axis == 0 else array[..., start:stop]

    length = stack.shape[axis] - side + 1
    pairs = part(stack, 0, length + side - 2) + part(stack, 1, length + side - 1)
    out = part(pairs, 0, length) + part(pairs, 2, length + 2)
    for start in range(4, side, 2):
        out += part(pairs, start, start + length)
    return out


def _means(sums: Floats, whole: float) -> tuple[Floats, Floats]:
    """Sums of shares -> means of the subject's and of the scene's colours, (h, 3, w) each.

    `whole` is what the sum of alphas would be if all were 1.
    """
    small = np.float32(SMALL * whole)
    front = sums[:, 1:4] / (sums[:, :1] + small)
    back = sums[:, 4:] / (np.float32(whole) - sums[:, :1] + small)
    return front, back


def _fuse(colours: Floats, a: Floats, front: Floats, back: Floats) -> Floats:
    """F' = F + a (I - a F - (1 - a) B), held in 0..255; (h, 3, w)."""
    out = back - front
    out *= a
    out += colours
    out -= back
    out *= a
    out += front
    return np.clip(out, 0, 255, out=out)


def _whole(alpha: Floats) -> Whole:
    """Alpha in [0, 1] as whole numbers, 0..`STEPS`."""
    return (alpha * np.float32(STEPS) + np.float32(0.5)).astype(np.int32)


def _fractions(alpha: Floats) -> Floats:
    """Alpha in [0, 1], to the nearest step."""
    return _whole(alpha).astype(np.float32) / np.float32(STEPS)


def _planes(rgb: Bytes, kind: type) -> NDArray[Any]:
    """(h, w, 3) uint8 -> (h, 3, w) of another type."""
    out: NDArray[Any] = np.empty((rgb.shape[0], 3, rgb.shape[1]), kind)
    for channel in range(3):
        out[:, channel] = rgb[..., channel]
    return out


def _mirrored(index: Index, side: int) -> Index:
    """Places beyond 0..`side` - 1 -> those they mirror: ... 2 1 0 1 2 ..."""
    if side == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * side - 2)
    return np.minimum(index, 2 * side - 2 - index)


def _taken(array: NDArray[Any], index: Index, *, axis: int) -> NDArray[Any]:
    """`array.take`, without a copy where the places follow each other."""
    first, last = int(index[0]), int(index[-1])
    if last - first == len(index) - 1 and (np.diff(index) == 1).all():
        place: list[Any] = [slice(None)] * array.ndim
        place[axis] = slice(first, last + 1)
        view: NDArray[Any] = array[tuple(place)]
        return view
    return np.take(array, index, axis=axis)
