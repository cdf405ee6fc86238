"""Deformable ASPP on a CPU, some lines of the map at a time: no branch's map is ever whole in memory.

For each block of lines, every branch samples, multiplies and is fused with the others while its values are in the
cache. The samples are weighted sums of four rows of a table, as in `birefnet.network.sampling`; here, outside
training, fewer steps find them.

Letters: B batch, C channels in, O channels out, H W size of the map, K taps of a kernel, n lines of a block,
P = n * W places of a block, M = P * K samples of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.aspp import ASPP
from birefnet.network.deform import DeformableConv
from birefnet.network.inference.kernels import convolution, linear

_BAND = 64  # lines of offsets at a time, where they are not computed for the whole map at once
_AROUND = 3  # rows and columns of zeros around the map: one before it, two behind
_EXACT = 1 << 24  # float32 holds every whole number up to this


class DeformableASPPByBlocks(nn.Module):
    """The function of a deformable `ASPP` whose batch norms are folded, outside training.

    Args:
        aspp: on the CPU, in the type to compute in.
        block_bytes: about how large the columns of the largest kernel may be.
        whole_offsets: compute the offsets for the whole map at once, which is faster and takes more memory.
    """

    def __init__(self, aspp: ASPP, block_bytes: int, *, whole_offsets: bool = True) -> None:
        super().__init__()
        self.block_bytes, self.whole_offsets = block_bytes, whole_offsets
        convs = [cast(DeformableConv, branch.get_submodule("conv")) for branch in aspp.branches]
        self.branches = nn.ModuleList(_Branch(conv) for conv in convs)
        self.pooled = aspp.pooled
        weight = aspp.fuse.weight.detach()[:, :, 0, 0]
        fused = sum(conv.kernel.out_channels for conv in convs)
        self.taps = max(conv.kernel.weight[0, 0].numel() for conv in convs)
        self.fuse = nn.Parameter(weight[:, :fused].contiguous(), requires_grad=False)
        self.fuse_pooled = nn.Parameter(weight[:, fused:].contiguous(), requires_grad=False)
        self.bias = aspp.fuse.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, H, W), channels-last in memory."""
        batch, channels, height, width = x.shape
        biases = linear(self.pooled(x).flatten(1), self.fuse_pooled, self.bias)  # (B, O)
        table = _table(x)
        y = torch.empty(batch, height, width, len(self.fuse), dtype=x.dtype)
        band = height if self.whole_offsets else _BAND
        for top in range(0, height, band):
            lines = slice(top, min(top + band, height))
            branches = [cast(_Branch, branch) for branch in self.branches]
            movements = [branch.movements(x, lines) for branch in branches]
            for picture, bias in enumerate(biases):
                for some in self._blocks(lines, width, channels * x.element_size()):
                    inside = slice(some.start - top, some.stop - top)
                    looks = [
                        branch.look(table[picture], movement[picture, inside], some)
                        for branch, movement in zip(branches, movements, strict=True)
                    ]
                    fused = linear(torch.cat(looks, dim=1), self.fuse, bias, "relu")
                    y[picture, some] = fused.view(-1, width, len(self.fuse))
        return y.permute(0, 3, 1, 2)

    def _blocks(self, lines: slice, width: int, row_bytes: int) -> Iterator[slice]:
        step = max(1, self.block_bytes // (width * self.taps * row_bytes))
        return (slice(start, min(start + step, lines.stop)) for start in range(lines.start, lines.stop, step))


class _Branch(nn.Module):
    """One deformable convolution and a ReLU, for some lines at a time."""

    def __init__(self, conv: DeformableConv) -> None:
        super().__init__()
        self.side, self.padding = conv.kernel.kernel_size[0], conv.padding
        self.taps = self.side * self.side
        offset, modulation = conv.offset, conv.modulation
        weight, bias = (
            torch.cat((*_by_axis(getattr(offset, name)), getattr(modulation, name))) for name in ("weight", "bias")
        )
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        self.offset_bias = nn.Parameter(bias, requires_grad=False)
        kernel = conv.kernel.weight.detach()  # (O, C, side, side)
        # The mask is twice a sigmoid: here the kernel is doubled, which is exact.
        self.rows = nn.Parameter(2 * kernel.permute(0, 2, 3, 1).flatten(1), requires_grad=False)  # (O, K C)
        self.bias = conv.kernel.bias

    def movements(self, x: Tensor, lines: slice) -> Tensor:
        """How far down and right each tap looks, and its mask before the sigmoid, for n lines of the map.

        (B, C, H, W) -> (B, n, W, 3K).
        """
        height, around = x.shape[2], self.padding
        first, last = max(lines.start - around, 0), min(lines.stop + around, height)
        seen = convolution(x[:, :, first:last], self.weight, self.offset_bias, padding=(around, around))
        return seen[:, :, lines.start - first : lines.stop - first].permute(0, 2, 3, 1)

    def look(self, table: Tensor, movement: Tensor, lines: slice) -> Tensor:
        """The branch's values at some lines, (P, O).

        Args:
            table: (H + 3, W + 3, C), one row and column of zeros before the map and two behind.
            movement: (n, W, 3K).
            lines: which n lines.
        """
        height, width, channels = (table.shape[0] - _AROUND, table.shape[1] - _AROUND, table.shape[2])
        down, right, mask = torch.split(_wide(movement), self.taps, dim=2)  # (n, W, K) each
        tap = torch.arange(self.taps, dtype=down.dtype)
        place = torch.arange(lines.start, lines.stop, dtype=down.dtype)[:, None, None]
        y = _inside(down + (place + (tap.div(self.side, rounding_mode="floor") - self.padding)), height)
        place = torch.arange(width, dtype=down.dtype)[:, None]
        x = _inside(right + (place + (tap % self.side - self.padding)), width)
        corners, shares = _corners(y, x, mask.sigmoid(), width + _AROUND, table.shape[0])
        columns = F.embedding_bag(
            corners, table.view(-1, channels), mode="sum", per_sample_weights=shares.to(table.dtype)
        )
        return linear(columns.view(-1, self.taps * channels), self.rows, self.bias, "relu")


def _wide(x: Tensor) -> Tensor:
    """Positions and shares are float32, or float64 where the values are."""
    return x if x.dtype == torch.float64 else x.float()


def _inside(position: Tensor, length: int) -> Tensor:
    """Positions that see nothing of the map go to -1 or `length`, among zeros; what is not a number goes there too."""
    return position.nan_to_num_(nan=-1.0, posinf=length, neginf=-1.0).clamp_(-1, length)


def _corners(y: Tensor, x: Tensor, mask: Tensor, line: int, lines: int) -> tuple[Tensor, Tensor]:
    """Four rows of the table for each sample, (M, 4) int32, and their shares, (M, 4)."""
    top, left = y.floor(), x.floor()
    below, right = (y - top).mul_(mask), x - left
    above = mask - below
    bottom_right, top_right = below * right, above * right
    shares = torch.stack((above - top_right, top_right, below - bottom_right, bottom_right), dim=-1)
    if line * lines > _EXACT:
        top, left = top.to(torch.int32), left.to(torch.int32)
    corner = top.add_(1).mul_(line).add_(left).add_(1).to(torch.int32)
    steps = torch.tensor((0, 1, line, line + 1), dtype=torch.int32)
    return (corner[..., None] + steps).view(-1, 4), shares.view(-1, 4)


def _table(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H + 3, W + 3, C): the pixels, and the zeros around them."""
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 2, 1, 2))


def _by_axis(values: Tensor) -> tuple[Tensor, Tensor]:
    """(2K, ...) in pairs (down, right) -> all downs, all rights."""
    return values[0::2], values[1::2]
