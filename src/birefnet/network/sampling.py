"""Bilinear samples of a map at any places: the first half of a deformable convolution.

The map is a table, one row per pixel, channels-last; a sample is a weighted sum of four rows. Zeros around the map
make validity tests needless.

Letters: B batch, C channels, H W size of the map, h w size of the output, K taps of the kernel,
n lines of a block, M = n * w * K samples of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Bytes of columns at a time: about a processor's cache, or enough to fill an accelerator.
_BLOCK_BYTES_CPU = 4 << 20
_BLOCK_BYTES_ELSEWHERE = 256 << 20

# Devices on which torch has one fused operation for a weighted sum of rows.
_FUSED_DEVICES = ("cpu", "cuda")
# And those on which the operation that this one learns its weights by is better than a product and a sum per corner.
_LEARNING_DEVICES = ("cpu",)

# Zeros around the map, in pixels: what looks past it sees four of them, and feels no gradient.
_BEFORE, _BEHIND = 2, 1
_AROUND = _BEFORE + _BEHIND


class Samples(NamedTuple):
    """Where M samples are taken; the corners run top left, top right, bottom left, bottom right."""

    corners: Tensor  # (M, 4) int32, rows of the table
    down: Tensor  # (M,) in [0, 1): how far below the upper corners
    right: Tensor  # (M,) in [0, 1)
    mask: Tensor  # (M,)

    def shares(self, dtype: torch.dtype) -> Tensor:
        """(M, 4): the corners' parts of each sample."""
        below = self.down * self.mask
        above = self.mask - below
        bottom_right, top_right = below * self.right, above * self.right
        return torch.stack((above - top_right, top_right, below - bottom_right, bottom_right), dim=1).to(dtype)

    def backward(self, corners: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Gradients of the offsets (M, 2) and of the mask (M,) from those of the four corner values, each (M,)."""
        top_left, top_right, bottom_left, bottom_right = corners
        left, right = bottom_left - top_left, bottom_right - top_right
        top, bottom = top_right - top_left, bottom_right - bottom_left
        down = left + self.right * (right - left)
        across = top + self.down * (bottom - top)
        value = top_left + self.right * top + self.down * down
        return torch.stack((down, across), dim=1) * self.mask[:, None], value


class Lattice:
    """The places that a kernel's taps look at: a regular lattice, moved by offsets.

    Args:
        x: the map (B, C, H, W).
        offset: (B, 2K, h, w), pairs (dy, dx) per tap.
        mask: (B, K, h, w).
        kernel: height and width of the kernel, like the three that follow.
        stride: distance of the output's places in the map.
        padding: pixels around the map.
        dilation: distance of the taps.
    """

    def __init__(
        self,
        x: Tensor,
        offset: Tensor,
        mask: Tensor,
        *,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> None:
        batch, self.channels, self.height, self.width = x.shape
        _, taps, self.lines, self.across = mask.shape
        self.dtype = wide(x.dtype)
        self.element_size = x.element_size()
        self.offset = offset.permute(0, 2, 3, 1).reshape(batch * self.lines, self.across, taps, 2)
        self.mask = mask.permute(0, 2, 3, 1).reshape(batch * self.lines, self.across, taps)

        def lattice(axis: int, length: int) -> tuple[Tensor, Tensor]:
            place = torch.arange(length, device=x.device) * stride[axis] - padding[axis]
            return place, torch.arange(kernel[axis], device=x.device) * dilation[axis]

        (top, down), (left, right) = lattice(0, self.lines), lattice(1, self.across)
        taps_down, taps_right = down.repeat_interleave(len(right)), right.repeat(len(down))  # (K,)
        self.y = (top[:, None, None] + taps_down).to(self.dtype).repeat(batch, 1, 1)  # (B h, 1, K)
        self.x = (left[:, None] + taps_right).to(self.dtype)  # (w, K)
        first = torch.arange(batch, device=x.device, dtype=torch.int32) * self._rows_per_picture()
        self.first = first.repeat_interleave(self.lines)[:, None, None]  # (B h, 1, 1): where the line's picture starts

    def blocks(self) -> Iterator[tuple[slice, Samples]]:
        """The samples of some lines of the output after another, and the places (of B h w) that they belong to."""
        total, across, taps = self.mask.shape
        budget = _BLOCK_BYTES_CPU if self.mask.device.type == "cpu" else _BLOCK_BYTES_ELSEWHERE
        step = max(1, budget // (across * taps * self.channels * self.element_size))
        for start in range(0, total, step):
            stop = min(start + step, total)
            yield slice(start * across, stop * across), self._samples(slice(start, stop))

    def _samples(self, lines: slice) -> Samples:
        dy, dx = self.offset[lines].to(self.dtype).unbind(-1)  # (n, w, K)
        y, x = _fold(self.y[lines] + dy, self.height), _fold(self.x + dx, self.width)
        top, left = _pixel_before(y, self.height), _pixel_before(x, self.width)
        line = self.width + _AROUND
        corner = self.first[lines] + (top + _BEFORE) * line + left + _BEFORE
        corners = torch.stack((corner, corner + 1, corner + line, corner + line + 1), dim=-1)
        return Samples(
            corners=corners.reshape(-1, 4),
            down=(y - top).reshape(-1),
            right=(x - left).reshape(-1),
            mask=self.mask[lines].to(self.dtype).reshape(-1),
        )

    def _rows_per_picture(self) -> int:
        return (self.height + _AROUND) * (self.width + _AROUND)


def make_table(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (rows, C): the pixels and the zeros around them, picture by picture, row by row."""
    around = (_BEFORE, _BEHIND)
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, *around, *around)).reshape(-1, x.shape[1])


def from_table(table: Tensor, like: Tensor) -> Tensor:
    """The inverse of `make_table`: a map of the shape, type and layout of `like`."""
    batch, channels, height, width = like.shape
    pixels = table.reshape(batch, height + _AROUND, width + _AROUND, channels)
    inner = pixels[:, _BEFORE:-_BEHIND, _BEFORE:-_BEHIND]
    return torch.empty_like(like).copy_(inner.permute(0, 3, 1, 2))


def take(table: Tensor, samples: Samples) -> Tensor:
    """(M, C): the sampled values, weighed by the mask."""
    shares = samples.shares(table.dtype)
    if table.device.type in _FUSED_DEVICES:
        return F.embedding_bag(samples.corners, table, mode="sum", per_sample_weights=shares)
    values = torch.zeros(len(shares), table.shape[1], dtype=table.dtype, device=table.device)
    for corner, share in zip(samples.corners.unbind(1), shares.unbind(1), strict=True):
        values += table.index_select(0, corner) * share[:, None]
    return values


def give(table: Tensor, samples: Samples, values: Tensor) -> None:
    """The way back of `take`: add to each row of `table` the parts of `values` (M, C) that were taken from it."""
    shares, part = samples.shares(values.dtype), torch.empty_like(values)
    for corner, share in zip(samples.corners.unbind(1), shares.unbind(1), strict=True):
        torch.mul(values, share[:, None], out=part)
        table.index_add_(0, corner.long(), part)  # with int32, torch adds at half the speed


def products(table: Tensor, samples: Samples, values: Tensor) -> list[Tensor]:
    """Inner products of `values` (M, C) with the rows at each of the four corners, (M,) each."""
    if table.device.type in _LEARNING_DEVICES:  # one pass, nothing in between
        count, corners = samples.corners.shape
        bag = torch.arange(count, dtype=torch.int32)
        found = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            values, table, samples.corners.reshape(-1), bag * corners, bag.repeat_interleave(corners), 0
        )
        return list(found.reshape(count, corners).unbind(1))
    return [(table.index_select(0, corner) * values).sum(1) for corner in samples.corners.unbind(1)]


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type of positions and of sums: float32, or float64 where the values are."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _fold(position: Tensor, length: int) -> Tensor:
    """Positions that see nothing of `length` pixels go to -2, among zeros; what is not a number stays so."""
    return torch.where((position <= -1) | (position >= length), -float(_BEFORE), position)


def _pixel_before(position: Tensor, length: int) -> Tensor:
    """The last pixel not behind a folded position, -2..length-1, int32."""
    return position.floor().to(torch.int32).clamp(-_BEFORE, length - 1)  # the clamp catches what is not a number
