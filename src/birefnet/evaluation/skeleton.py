"""The skeleton of a mask: thinning by Zhang and Suen (Communications of the ACM, 1984), with a list of what may go.

Letters: N pixels at work at a moment; a neighbourhood is a byte, a bit for each of the eight pixels around one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from birefnet.evaluation.pair import Mask
from birefnet.files import whole_file

Places = NDArray[np.intp]  # (N,) indices into a flat map

_log = logging.getLogger(__name__)

COMPASS = ("NW", "N", "NE", "E", "SE", "S", "SW", "W")  # clockwise; the order of a neighbourhood's bits
MARGIN = 2  # background around the mask: its inner ring has neighbours that are in the map too

# Where scikit-image's table, which the published figures come from, departs from the paper: neighbourhood -> passes
# in which the pixel goes, 1 and 2 added up. It thins stairs to diagonals, and spares ends that the paper eats up.
DEPARTURES = {
    0: ("SE S", "NW W"),
    1: ("NW N", "N NE", "NE E", "N NE E", "NW N W", "NW N E", "N NE W", "NW S W", "N SW W", "N NE SW W"),
    2: ("E SE", "S SW", "SW W", "E SE S", "S SW W", "N E SE", "E S SW", "SE S W", "NE E S SW"),
    3: ("N E", "E S", "N W", "S W"),
}


def skeletonize(mask: Mask) -> Mask:
    """Thin a mask (H, W) to lines of one pixel that keep its shape; equal to scikit-image's `skeletonize`.

    The work grows with the pixels that go, not with the picture's size times the passes: a pixel is looked at again
    only when a neighbour went.
    """
    if not mask.any():
        return np.zeros_like(mask)
    thin = np.pad(mask, MARGIN)
    width = thin.shape[1]
    around = [width * dy + dx for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))]
    state = _State(thin.ravel(), around)
    # As if the background next to the mask had just gone.
    pending = state.forget(np.flatnonzero(_rim(thin)))
    quiet = 0
    number = 1
    while quiet < 2:
        pending, gone = state.thin(pending, number)
        quiet = 0 if gone else quiet + 1
        number = 3 - number
    return thin[MARGIN:-MARGIN, MARGIN:-MARGIN]


def cached_skeleton(mask: Mask, folder: Path | None) -> Mask:
    """The skeleton of a mask, kept in a folder under a hash of the mask; many processes may share the folder.

    A file that is damaged is made anew; a folder that cannot be written to is logged, and costs only time.
    """
    if folder is None:
        return skeletonize(mask)
    key = hashlib.sha256(repr(("zhang 1", mask.shape)).encode() + np.packbits(mask).tobytes()).hexdigest()[:40]
    path = folder / f"{key}.skeleton"
    with contextlib.suppress(OSError, zlib.error):  # absent or damaged
        stored = np.frombuffer(zlib.decompress(path.read_bytes()), np.uint8)
        if stored.size == -(-mask.size // 8):
            return np.unpackbits(stored, count=mask.size).reshape(mask.shape).view(np.bool_)
    thin = skeletonize(mask)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:  # another process never reads half a file
            part.write_bytes(zlib.compress(np.packbits(thin).tobytes(), 1))
    except OSError as error:
        _log.warning("The skeleton of a truth could not be kept in `%s`: %s", folder, error)
    return thin


class _State:
    """A mask being thinned.

    Attributes:
        flat: bool, the padded mask; changed in place.
        codes: uint8, the neighbourhood of each pixel of the mask; 0 off the mask.
    """

    def __init__(self, flat: Mask, around: list[int]) -> None:
        self.flat = flat
        self.around = around
        self.codes = flat.view(np.uint8) * np.uint8(255)
        self.order = np.empty(flat.size, np.int32)  # scratch

    def thin(self, pending: Places, number: int) -> tuple[Places, bool]:
        """Do one pass over the pixels that may go in some pass; return those that may go later, and if any went."""
        passes = _passes()[self.codes[pending]]
        now = (passes & number).astype(bool)
        going = self._once(pending[now])
        later = pending[~now & (passes != 0)]
        self.flat[going] = False
        self.codes[going] = 0
        return np.concatenate((later, self.forget(going))), bool(going.size)

    def forget(self, gone: Places) -> Places:
        """Tell the neighbours of pixels that went; return those that may now go themselves, some of them twice."""
        passes = _passes()
        found = []
        for bit, offset in enumerate(self.around):
            neighbours = gone - offset
            codes = self.codes[neighbours] & np.uint8(255 - (1 << bit))
            self.codes[neighbours] = codes
            found.append(neighbours[passes[codes] != 0])
        return np.concatenate(found)

    def _once(self, places: Places) -> Places:
        ranks = np.arange(places.size, dtype=np.int32)
        self.order[places] = ranks
        first: NDArray[np.bool_] = self.order[places] == ranks
        return places[first]


def _rim(mask: Mask) -> Mask:
    """Background next to the mask, corners included."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    near = rows.copy()
    near[:, 1:] |= rows[:, :-1]
    near[:, :-1] |= rows[:, 1:]
    return near & ~mask


@functools.cache
def _passes() -> NDArray[np.uint8]:
    """(256,) the passes in which a pixel with each neighbourhood goes: 1, 2, 3 for both, 0 for none."""
    table = np.zeros(256, np.uint8)
    for code in range(256):
        north_west, north, north_east, east, south_east, south, south_west, west = (code >> bit & 1 for bit in range(8))
        ring = (north, north_east, east, south_east, south, south_west, west, north_west)
        rises = sum(after > before for before, after in zip(ring, ring[1:] + ring[:1], strict=True))
        if rises == 1 and 2 <= sum(ring) <= 6:
            first = not (east and south and (north or west))
            second = not (north and west and (east or south))
            table[code] = first + 2 * second
    for passes, names in DEPARTURES.items():
        for name in names:
            table[sum(1 << COMPASS.index(side) for side in name.split())] = passes
    return table
