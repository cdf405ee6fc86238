"""Masks with 64 pixels in a word, for the work that looks at whole pictures over and over.

A mask (H, W) is packed to `Words`: (H, ceil(W / 64)) little-endian, bit i of word w is column 64 w + i. Columns past
the picture are 0 in every result, and what is outside of the picture never counts as part of a mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from birefnet.evaluation.pair import Mask

Words = NDArray[np.uint64]  # (H, ceil(W / 64))

_ONE, _LAST = np.uint64(1), np.uint64(63)
_COUNTS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def pack(mask: Mask) -> Words:
    """Mask (H, W) -> words."""
    lines = np.packbits(mask, axis=1, bitorder="little")
    return np.pad(lines, ((0, 0), (0, -lines.shape[1] % 8))).view("<u8")


def unpack(words: Words, width: int) -> Mask:
    """Words -> mask (H, W) of this width."""
    return np.unpackbits(words.view(np.uint8), axis=1, count=width, bitorder="little").view(np.bool_)


def full(height: int, width: int) -> Words:
    """The mask of a whole picture."""
    return np.repeat(pack(np.ones((1, width), np.bool_)), height, axis=0)


def count(words: Words) -> int:
    """Number of pixels of a mask."""
    if hasattr(np, "bitwise_count"):  # from numpy 2.0 on
        return int(np.bitwise_count(words).sum(dtype=np.int64))
    return int(_COUNTS[words.view(np.uint8)].sum(dtype=np.int64))


def at(words: Words, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(N,) whether each of N pixels is in the mask."""
    shifted: Words = words[rows, columns >> 6] >> (columns & 63).astype(np.uint64)
    return (shifted & _ONE).astype(np.bool_)


def widen(words: Words, whole: Words) -> Words:
    """A mask and its left and right neighbours, within `whole`."""
    result: Words = words | words << _ONE | words >> _ONE
    result[:, 1:] |= words[:, :-1] >> _LAST
    result[:, :-1] |= words[:, 1:] << _LAST
    result &= whole
    return result


def dilate(words: Words, whole: Words, times: int = 1) -> Words:
    """A mask and its neighbours to the four sides, some times over, within `whole`."""
    for _ in range(times):
        result = widen(words, whole)
        result[1:] |= words[:-1]
        result[:-1] |= words[1:]
        words = result & whole
    return words


def erode(words: Words, whole: Words, times: int = 1) -> Words:
    """The pixels of a mask whose neighbours to the four sides are in it, some times over; the border takes nothing."""
    return whole & ~dilate(whole & ~words, whole, times)


def dilate_disks(words: Words, whole: Words, disks: list[list[int]]) -> list[Words]:
    """A mask dilated by several disks; a disk is how far its rows reach sideways, from the middle row outwards.

    Disks must not become wider outwards.
    """
    wide = [words]  # wide[n]: the mask widened n times
    for _ in range(max(disk[0] for disk in disks)):
        wide.append(widen(wide[-1], whole))
    results = []
    for disk in disks:
        result = wide[disk[0]].copy()
        for shift, reach in enumerate(disk[1 : len(words)], start=1):
            result[shift:] |= wide[reach][:-shift]
            result[:-shift] |= wide[reach][shift:]
        results.append(result)
    return results
