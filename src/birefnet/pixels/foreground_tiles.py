"""Which parts of a picture lie near the subject's edge: only there do its colours differ from the picture's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CELL = 32  # pixels; what is decided to be near an edge or not
LARGEST = 32 * CELL  # side of a tile: its arrays need little memory, and there is work for several threads
HALO_COST = 0.4  # of a pixel that is only looked at, where one whose colour is estimated costs 1


class Tile(NamedTuple):
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


def tiles(alpha: NDArray[np.float32], half: float, *, halo: int) -> tuple[list[Tile], list[Tile]]:
    """(H, W) alpha in [0, 1] -> tiles where nothing of the subject is left, and tiles where an edge is near.

    No two overlap; what is in none of them is all subject.

    Args:
        half: half a step of alpha: nearer to 0 or 1 than that counts as 0 or 1.
        halo: how many rows and columns more than its own the work on a tile looks at.
    """
    solid, empty = _cells(alpha, half)
    height, width = alpha.shape

    def to_pixels(cells: list[Tile]) -> list[Tile]:
        return [
            Tile(top * CELL, min(height, bottom * CELL), left * CELL, min(width, right * CELL))
            for top, bottom, left, right in cells
        ]

    edges = _cover(~solid & ~empty, Tile(0, solid.shape[0], 0, solid.shape[1]), halo / CELL)
    for top, bottom, left, right in edges:
        empty[top:bottom, left:right] = False
    return to_pixels(_runs(empty)), to_pixels(edges)


def _cells(alpha: NDArray[np.float32], half: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Per cell: whether its alpha is 1 everywhere; whether it is 0 there and in the cells around it."""
    starts = [np.arange(0, side, CELL) for side in alpha.shape]
    low, high = (
        pick.reduceat(pick.reduceat(alpha, starts[0], axis=0), starts[1], axis=1) for pick in (np.minimum, np.maximum)
    )
    rows, columns = high.shape
    some = np.pad(high >= half, 1)
    near = np.zeros((rows, columns), bool)
    for y in range(3):
        for x in range(3):
            near |= some[y : y + rows, x : x + columns]
    return low >= 1 - half, ~near


def _cover(wanted: NDArray[np.bool_], part: Tile, halo: float) -> list[Tile]:
    """Tiles, in cells, that hold every wanted cell of a part: halved as long as that saves work."""
    inside = wanted[part.top : part.bottom, part.left : part.right]
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return []
    box = Tile(part.top + rows[0], part.top + rows[-1] + 1, part.left + columns[0], part.left + columns[-1] + 1)
    height, width = box.bottom - box.top, box.right - box.left
    large = max(height, width) * CELL > LARGEST
    full = np.count_nonzero(inside) > 0.7 * height * width
    if not large and (full or max(height, width) == 1):
        return [box]
    if height >= width:
        middle = box.top + height // 2
        halves = box._replace(bottom=middle), box._replace(top=middle)
    else:
        middle = box.left + width // 2
        halves = box._replace(right=middle), box._replace(left=middle)
    smaller = [tile for half in halves for tile in _cover(wanted, half, halo)]
    return smaller if large or sum(_work(tile, halo) for tile in smaller) < _work(box, halo) else [box]


def _work(tile: Tile, halo: float) -> float:
    """About how long a tile takes."""
    height, width = tile.bottom - tile.top, tile.right - tile.left
    return HALO_COST * (height + halo) * (width + halo) + (1 - HALO_COST) * height * width


def _runs(wanted: NDArray[np.bool_]) -> list[Tile]:
    """The wanted cells, as runs along the rows."""
    found = []
    for y, row in enumerate(np.diff(np.pad(wanted, ((0, 0), (1, 1))).astype(np.int8), axis=1)):
        starts, stops = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
        found += [Tile(y, y + 1, int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]
    return found
