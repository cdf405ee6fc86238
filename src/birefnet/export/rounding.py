"""Weights in 8 bits, rounded so that the errors of an output's weights cancel.

Rounding each weight to the nearest step leaves an error in their sum, and what follows a ReLU has a mean above zero,
which that sum multiplies: every pixel of a channel moves the same way. Here the few weights that were nearest to
being rounded the other way are, until the errors of each kernel, and then of each output, add up to nothing that a
step could mend. It needs no pictures and costs nothing when the network runs. (After SQuant, Guo et al., ICLR 2022,
which derives it from a Hessian that is constant within a kernel and within an output.)

Legend: O outputs, C channels in, K taps of a kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 127  # of an 8-bit weight to either side of zero

Floats = NDArray[np.float32]


def to_steps(
    values: NDArray[np.floating[Any]], axis: int, *, steps: int = STEPS, least: Floats | None = None
) -> tuple[NDArray[np.int8], Floats]:
    """Weights as whole steps, with a size of the step for each output.

    Args:
        values: the weights of a layer, all finite; the axes behind the second are a kernel's.
        axis: that of the outputs, O long.
        steps: how many there are to either side of zero, at most 127.
        least: the least size of a step (O,); None for what the largest weight needs.

    Returns:
        Steps in -steps..steps of the same shape, each less than one and a half from its weight (nearly all at most half
        of one), and the size of a step for each output (O,).
    """
    first = np.ascontiguousarray(np.moveaxis(values, axis, 0))  # so that lines of it are views
    scale = (np.abs(first).reshape(len(first), -1).max(axis=1) / steps).astype(np.float32)
    if least is not None:
        scale = np.maximum(scale, least)
    scale[scale == 0] = 1  # a dead output: any scale does
    exact = (first / scale.reshape(-1, *[1] * (first.ndim - 1))).astype(np.float32)
    rounded = np.round(exact)
    taps = int(np.prod(first.shape[2:]))
    if taps > 1:
        _cancel(exact.reshape(-1, taps), rounded.reshape(-1, taps))
    _cancel(exact.reshape(len(first), -1), rounded.reshape(len(first), -1))
    whole = np.clip(rounded, -steps, steps).astype(np.int8)
    return np.ascontiguousarray(np.moveaxis(whole, 0, axis)), scale


def _cancel(exact: Floats, steps: Floats) -> None:
    """Move some of each line's steps by one, so that their errors add up to at most a half; those nearest to it.

    Args:
        exact: (N, M).
        steps: the same, rounded; changed in place.
    """
    errors = steps - exact
    surplus = np.round(errors.sum(axis=1, dtype=np.float64)).astype(np.int64)  # (N,) steps too many
    most = int(np.abs(surplus).max(initial=0))
    if most == 0:
        return
    towards = np.sign(surplus).astype(np.float32)[:, None]
    errors *= -towards  # the most negative are moved first
    count = min(most, exact.shape[1])
    places = np.argpartition(errors, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(errors, places, axis=1), axis=1, kind="stable")
    places = np.take_along_axis(places, order, axis=1)
    moved = np.where(np.arange(count) < np.abs(surplus)[:, None], towards, 0)
    np.put_along_axis(steps, places, np.take_along_axis(steps, places, axis=1) - moved, axis=1)
