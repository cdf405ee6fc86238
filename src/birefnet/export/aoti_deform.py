"""Deformable convolution in plain operations that a compiler sees through; for formats that know no node for it.

The same function as `birefnet.network.deform`, made for tracing: the columns exist only for some rows of the kernel at
a time, not for some lines of the map, so that the sizes may stay free.

Letters: B batch, C channels in, O channels out, H W size of the input, h w size of the output, k side of the kernel,
n rows of the kernel in a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_BEFORE, _BEHIND = 2, 1  # zeros around the map, in pixels: what looks past it sees four of them
_AROUND = _BEFORE + _BEHIND
_BLOCK_BYTES = 64 << 20  # of columns at a time


def deform_in_plain_operations(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """What `torch.ops.birefnet.deform_conv2d` computes.

    Args:
        x: (B, C, H, W).
        offset: (B, 2 k k, h, w) in pixels: pairs (dy, dx), one per tap, taps row by row.
        mask: (B, k k, h, w), a factor per tap.
        weight: (O, C, k, k).
        stride, padding, dilation: (vertical, horizontal).

    Returns:
        (B, O, h, w) of x's type, channels-last in memory.
    """
    batch, channels, height, width = x.shape
    out, _, rows, across = weight.shape
    lines, columns = mask.shape[2:]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    table = F.pad(x.permute(0, 2, 3, 1), (0, 0, _BEFORE, _BEHIND, _BEFORE, _BEHIND)).reshape(-1, channels)
    moved = offset.reshape(batch, rows, across, 2, lines, columns).to(wide)
    factors = mask.reshape(batch, rows, across, lines, columns).to(wide)
    line = torch.arange(lines, device=x.device) * stride[0] - padding[0]
    column = torch.arange(columns, device=x.device) * stride[1] - padding[1]
    taps = column[:, None] + torch.arange(across, device=x.device) * dilation[1]  # (w, k)
    first = torch.arange(batch, device=x.device) * ((height + _AROUND) * (width + _AROUND))
    first = first[:, None, None, None, None]
    step = _rows_at_once(batch * lines * columns * across * channels * x.element_size(), rows)
    products = []
    for start in range(0, rows, step):
        block = slice(start, start + step)
        up = line[:, None, None, None] + torch.arange(rows, device=x.device)[block, None] * dilation[0]  # (h, 1, n, 1)
        down = _behind(moved[:, block, :, 0]) + up  # (B, h, w, n, k)
        right = _behind(moved[:, block, :, 1]) + taps[:, None]
        values = _sample(table, first, down, right, _behind(factors[:, block]), (height, width))  # (B, h, w, n, k, C)
        kernel = weight[:, :, block].permute(2, 3, 1, 0).reshape(-1, out)  # (n k C, O)
        products.append(values.reshape(batch * lines * columns, -1) @ kernel)
    y = sum(products[1:], products[0])
    return y.reshape(batch, lines, columns, out).permute(0, 3, 1, 2)


def _rows_at_once(row_bytes: int | torch.SymInt, rows: int) -> int:
    """How many rows of the kernel a block takes; one where the size is not known yet."""
    if isinstance(row_bytes, torch.SymInt):
        return 1
    return max(1, min(rows, _BLOCK_BYTES // row_bytes))


def _behind(x: Tensor) -> Tensor:
    """(B, n, k, h, w) -> (B, h, w, n, k)."""
    return x.permute(0, 3, 4, 1, 2)


def _sample(table: Tensor, first: Tensor, down: Tensor, right: Tensor, factor: Tensor, size: tuple[int, int]) -> Tensor:
    """Weighted sums of four rows of the table, (B, h, w, n, k, C); positions in pixels of the map without its zeros."""
    height, width = size
    down, right = _fold(down, height), _fold(right, width)
    top, left = _pixel_before(down, height), _pixel_before(right, width)
    below, behind = down - top, right - left
    line = width + _AROUND
    corner = first + (top + _BEFORE) * line + left + _BEFORE
    shares = (
        (0, factor * (1 - below) * (1 - behind)),
        (1, factor * (1 - below) * behind),
        (line, factor * below * (1 - behind)),
        (line + 1, factor * below * behind),
    )
    values = [F.embedding(corner + step, table) * share[..., None].to(table.dtype) for step, share in shares]
    return values[0] + values[1] + values[2] + values[3]


def _fold(position: Tensor, length: int) -> Tensor:
    """Positions that see nothing of `length` pixels go to -2, among zeros."""
    return torch.where((position <= -1) | (position >= length), -float(_BEFORE), position)


def _pixel_before(position: Tensor, length: int) -> Tensor:
    """The last pixel not behind a folded position, -2..length-1."""
    return position.floor().to(torch.int64).clamp(-_BEFORE, length - 1)  # the clamp catches what is not a number
