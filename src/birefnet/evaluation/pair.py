"""A prediction and its truth, checked, with the counts that many metrics share."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import InputError

Mask = NDArray[np.bool_]  # (H, W)
Grey = NDArray[np.uint8]  # (H, W), 0 to 255

TRUTH_LEVEL = 128  # the truth is foreground above it, as in the published evaluations


class Pair:
    """One prediction beside its truth; what several metrics need is computed once, when first asked for.

    Args:
        prediction: uint8 (H, W), the alpha, 0 is background.
        truth: uint8 (H, W), the same size; foreground above 128. Only the metrics of mattes look at its soft values.

    Raises:
        InputError: for another type or shape, an empty array, or two sizes.
    """

    def __init__(self, prediction: Grey, truth: Grey) -> None:
        _check(prediction, "prediction")
        _check(truth, "truth")
        if prediction.shape != truth.shape:
            raise InputError(
                f"The prediction is {_size(prediction)} and its truth {_size(truth)}; "
                "resize the prediction to its truth before measuring"
            )
        self.prediction = np.ascontiguousarray(prediction)
        self.truth = np.ascontiguousarray(truth)

    @property
    def height(self) -> int:
        return int(self.truth.shape[0])

    @property
    def width(self) -> int:
        return int(self.truth.shape[1])

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.truth.size

    @cached_property
    def foreground(self) -> Mask:
        """Where the truth is foreground."""
        return self.truth > TRUTH_LEVEL

    @cached_property
    def stretched(self) -> NDArray[np.float64]:
        """(256,) value of each grey level of the prediction after it was stretched to reach from 0 to 1.

        The published evaluations stretch every prediction by its least and largest value; a constant one stays as
        it is, divided by 255.
        """
        values: NDArray[np.float64] = np.arange(256) / 255
        present = np.flatnonzero(self.counts.sum(axis=(0, 1, 2)))
        low, high = values[present[0]], values[present[-1]]
        if high == low:
            return values
        return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))

    @cached_property
    def levels(self) -> Grey:
        """(256,) the threshold level, 0 to 255, that each grey level of the prediction reaches once stretched."""
        return (self.stretched * 255).astype(np.uint8)

    def reaches(self, level: int) -> Mask:
        """Where the stretched prediction is at least this level, 0 to 255."""
        least = int(np.searchsorted(self.levels, level))
        return self.prediction >= least if least < 256 else np.zeros(self.prediction.shape, np.bool_)

    @cached_property
    def centre(self) -> tuple[int, int]:
        """Row and column where the S-measure cuts the picture in four: just after the truth's centre of mass.

        The middle of the picture for an empty truth.
        """
        rows, columns = (np.count_nonzero(self.foreground, axis=axis) for axis in (1, 0))
        total = int(rows.sum())
        if total == 0:
            return round(self.height / 2), round(self.width / 2)
        row, column = (int(counts @ np.arange(len(counts))) / total for counts in (rows, columns))
        return round(row) + 1, round(column) + 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(2, 2, 2, 256) pixels by: below the centre, right of it, foreground of the truth, grey of the prediction."""
        row, column = self.centre
        counts = np.zeros((2, 2, 512), np.int64)
        for below, rows in enumerate((slice(0, row), slice(row, None))):
            for right, columns in enumerate((slice(0, column), slice(column, None))):
                both = self.foreground[rows, columns] * np.uint16(256)
                both += self.prediction[rows, columns]
                counts[below, right] = np.bincount(both.ravel(), minlength=512)
        return counts.reshape(2, 2, 2, 256)

    @cached_property
    def inside(self) -> NDArray[np.int64]:
        """(256,) pixels of each grey level of the prediction in the truth's foreground."""
        return np.asarray(self.counts[:, :, 1].sum(axis=(0, 1)))

    @cached_property
    def outside(self) -> NDArray[np.int64]:
        """(256,) pixels of each grey level of the prediction in the truth's background."""
        return np.asarray(self.counts[:, :, 0].sum(axis=(0, 1)))


def _check(array: object, name: str) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"The {name} is a {type(array).__name__}; wanted a numpy array, uint8 (H, W)")
    if array.dtype != np.uint8 or array.ndim != 2:
        raise InputError(f"The {name} is {array.dtype} of shape {array.shape}; wanted uint8 (H, W), 0 to 255")
    if array.size == 0:
        raise InputError(f"The {name} has no pixels: its shape is {array.shape}")


def _size(array: Grey) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
