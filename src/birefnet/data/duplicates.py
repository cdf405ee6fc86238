"""Pictures that are there twice: pixel for pixel, or saved, scaled or compressed once more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from birefnet.data.augment import Array

_SIDE = 16
NEAR = 16  # of 256 bits; in 2936 photos of all kinds copies differed in at most 16, no other two in fewer than 19
_FLAT = 64  # where fewer bits are set there is hardly anything to see, and much looks alike


class Fingerprint(NamedTuple):
    """What is kept of a picture to know it again.

    Attributes:
        exact: hash of its size and pixels.
        look: 256 bits: whether each of 16x16 parts is brighter than the one to its left.
    """

    exact: bytes
    look: bytes


class Twin(NamedTuple):
    """A picture that is there before: the numbers of the later and the earlier one."""

    later: int
    first: int
    exact: bool


def fingerprint(picture: Array) -> Fingerprint:
    """The fingerprint of a picture (H, W, 3) uint8."""
    exact = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16, key=repr(picture.shape).encode())
    small = Image.fromarray(picture).resize((_SIDE + 1, _SIDE), Image.Resampling.BOX).convert("L")
    parts = np.asarray(small).astype(np.int16)
    return Fingerprint(exact.digest(), np.packbits(parts[:, 1:] > parts[:, :-1]).tobytes())


def find_twins(prints: Sequence[Fingerprint]) -> Iterator[Twin]:
    """Every picture that looks like an earlier one, with the first of those."""
    same: dict[bytes, int] = {}
    firsts = [same.setdefault(one.exact, index) for index, one in enumerate(prints)]
    alike = _alike([one.look for one in prints])
    for index, first in enumerate(firsts):
        if first != index:
            yield Twin(index, first, True)
        elif index in alike:
            yield Twin(index, alike[index], False)


def _alike(looks: Sequence[bytes]) -> dict[int, int]:
    """Index of a look -> the lowest index of one that differs in at most `NEAR` bits, where that is lower."""
    if not looks:
        return {}
    bits = np.frombuffer(b"".join(looks), np.uint16).reshape(len(looks), -1)
    ones = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(1, np.uint8)
    count = ones[bits].sum(1, np.int64)
    # Looks whose numbers of ones differ by more than `NEAR` differ in more than `NEAR` bits: most need no comparison.
    order = np.argsort(count, kind="stable")
    bits, count = bits[order], count[order]
    ends = np.searchsorted(count, count + NEAR, side="right")
    found: dict[int, int] = {}
    for place in range(int(np.searchsorted(count, _FLAT)), len(looks)):
        others = np.arange(place + 1, ends[place])
        near = others[ones[bits[others] ^ bits[place]].sum(1, np.int64) <= NEAR]
        for other in near:
            early, late = sorted((int(order[place]), int(order[other])))
            found[late] = min(early, found.get(late, early))
    return found
