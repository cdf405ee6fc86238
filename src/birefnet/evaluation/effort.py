"""Human correction efforts: how many clicks and polygon points would put a prediction right (Qin et al., ECCV 2022)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.evaluation import bits
from birefnet.evaluation.bits import Words
from birefnet.evaluation.pair import Pair
from birefnet.evaluation.skeleton import cached_skeleton

RELAX = 5  # errors thinner than twice this many pixels are forgiven
TOLERANCE = 2.0  # pixels by which a polygon may leave the boundary it stands for
LEVEL = 128  # a prediction is foreground where its stretched level is above it


def human_correction_efforts(pair: Pair, *, skeleton_cache: Path | None = None) -> float:
    """HCE: polygon points along the false parts where they touch what is right, and a click for each that stands alone.

    Small errors are forgiven (relax 5), except where the truth's skeleton is missed; polygons follow the boundaries
    within 2 pixels.

    Args:
        pair: prediction and truth.
        skeleton_cache: a folder, outside of the data set, that keeps skeletons of truths for the next prediction.
    """
    cv2 = require("cv2", "evaluate")
    true, predicted = bits.pack(pair.foreground), bits.pack(pair.reaches(LEVEL + 1))
    whole = bits.full(pair.height, pair.width)
    core = bits.erode(true | predicted, whole, RELAX)
    excess = _relax(predicted & ~true, core, whole & ~true)
    lack = _relax(true & ~predicted, core, whole & ~predicted)
    lack |= bits.pack(cached_skeleton(pair.foreground, skeleton_cache)) & ~predicted
    right = true & predicted
    near_truth = bits.dilate(right | lack, whole)
    near_ground = bits.dilate(whole & ~(right | lack | excess), whole)
    return float(_efforts(cv2, excess, near_truth, pair.width) + _efforts(cv2, lack, near_ground, pair.width))


def _relax(wrong: Words, core: Words, free: Words) -> Words:
    """The wrong parts that are thick enough: what grows back from their core through what is free."""
    grown = wrong & core
    if grown.any():
        for _ in range(RELAX):
            grown = bits.dilate(grown, free)
    return grown & wrong


def _efforts(cv2: ModuleType, wrong: Words, touching: Words, width: int) -> int:
    """Points of the polygons where the regions of `wrong` touch, plus the number of regions that touch nothing."""
    if not wrong.any():
        return 0
    mask = bits.unpack(wrong, width).view(np.uint8)
    contours, tree = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    points = np.concatenate(contours)[:, 0].astype(np.intp)  # (N, 2) x and y
    owners = np.repeat(np.arange(len(contours)), [len(contour) for contour in contours])
    kept = bits.at(touching, points[:, 1], points[:, 0]) & _first_visit(points[:, 1] * width + points[:, 0], mask.size)
    regions = _regions(tree[0, :, 3])
    alone = len(np.unique(regions)) - len(np.unique(regions[owners[kept]]))
    runs = _runs(points.astype(np.int32), owners, kept)
    return alone + sum(len(cv2.approxPolyDP(run[:, None], TOLERANCE, False)) for run in runs)


def _first_visit(places: NDArray[np.intp], size: int) -> NDArray[np.bool_]:
    """(N,) whether a place comes for the first time; contours pass thin parts twice."""
    order = np.arange(places.size, dtype=np.int32)
    first = np.empty(size, np.int32)
    first[places[::-1]] = order[::-1]  # of repeated places the last one written stays
    return np.equal(first[places], order)


def _regions(parents: NDArray[np.int32]) -> NDArray[np.int32]:
    """(C,) the outer contour of the region that each contour bounds, from the contour around each, -1 for none.

    Contours of regions and of their holes alternate from the outside in; a hole belongs to the region around it.
    """
    depth = np.zeros(len(parents), np.int32)
    above = parents.copy()
    while (inner := above >= 0).any():
        depth[inner] += 1
        above[inner] = parents[above[inner]]
    return np.where(depth % 2, parents, np.arange(len(parents), dtype=np.int32))


def _runs(points: NDArray[np.int32], owners: NDArray[np.intp], kept: NDArray[np.bool_]) -> list[NDArray[np.int32]]:
    """Stretches of kept points along each contour; a contour's first and last are joined if their ends meet."""
    places = np.flatnonzero(kept)
    if not places.size:
        return []
    cuts = np.flatnonzero((np.diff(places) > 1) | (np.diff(owners[places]) > 0)) + 1
    starts, ends = np.r_[0, cuts], np.r_[cuts, places.size]
    runs = [points[places[start:end]] for start, end in zip(starts, ends, strict=True)]
    of = owners[places[starts]]
    firsts = np.flatnonzero(np.diff(of, prepend=-1))
    lasts = np.r_[firsts[1:], len(runs)] - 1
    for first, last in zip(firsts, lasts, strict=True):
        if first < last and np.abs(runs[first][0] - runs[last][-1]).max() == 1:
            # Turned round: this is how the published figures are made.
            runs[last] = np.concatenate((runs[last], runs[first][::-1]))
            runs[first] = runs[first][:0]
    return [run for run in runs if len(run)]
