"""What training reads: samples by number, the same whatever the number of workers and wherever a run goes on."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from birefnet.data.augment import Array

Size = int | tuple[int, int]


class Sample(NamedTuple):
    """One sample, ready for the network but for normalisation.

    Attributes:
        picture: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, soft where the source is.
        label: index into the stream's `class_names`, or None where there are no classes.
    """

    picture: Array
    mask: Array
    label: int | None = None


class Stream(Protocol):
    """Samples by number; sample n depends on the seed, n and the size alone."""

    @property
    def epoch_length(self) -> int:
        """How many pairs there are."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, sorted; empty without `data.classes`."""

    def sample(self, number: int, size: Size) -> Sample:
        """Sample `number` (from 0) at `size`: (width, height), or one side of a square."""


def as_size(size: Size) -> tuple[int, int]:
    """(width, height) of a size that may be one side."""
    return (size, size) if isinstance(size, int) else size
