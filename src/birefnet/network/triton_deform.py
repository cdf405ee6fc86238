"""Deformable convolution on a GPU in one kernel: samples are taken and multiplied at once, so no columns exist.

Written in Triton, which comes with PyTorch's builds for CUDA. A program makes a tile of the output, P places times
O channels. It goes through the taps: where each place looks is worked out once, then, for some input channels at a
time, four rows per place are read (channels-last, so each is one piece of memory), weighed, summed in float32 and
multiplied with the tap's part of the kernel on the tensor cores, into float32 sums.

Letters: B batch, C channels in, O channels out, H W size of the input, h w size of the output, K taps of the kernel,
P places (of B h w) of a program.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_SMALLEST = 16  # sides of a product of tiles
_CAPABILITY = (8, 0)  # of the GPU: bfloat16 on tensor cores, and enough shared memory

_broken: list[Exception] = []  # why the kernel failed here, which is then not tried again

triton: Any = None  # set by `_kernel`; Triton looks for the names that a kernel uses here
tl: Any = None


def usable(x: Tensor) -> bool:
    """Whether the kernel can take this map: on a CUDA GPU of capability 8.0 or more, float16, bfloat16 or float32."""
    if not x.is_cuda or x.dtype not in DTYPES or importlib.util.find_spec("triton") is None:
        return False
    return torch.version.hip is None and torch.cuda.get_device_capability(x.device) >= _CAPABILITY


def fused_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """What `birefnet::deform_conv2d` computes, or None where the kernel is not usable; without gradients.

    Args:
        x: (B, C, H, W); fastest where it is channels-last in memory, else it is copied.
        offset: (B, 2K, h, w) in pixels: pairs (dy, dx), one per tap, taps row by row; any layout and float type.
        mask: (B, K, h, w), a factor per tap.
        weight: (O, C, kernel height, kernel width).
        stride, padding, dilation: (vertical, horizontal).

    Returns:
        (B, O, h, w) of x's type, channels-last in memory.
    """
    if _broken or not usable(x):
        return None
    try:
        return launch(x, offset, mask, weight, stride, padding, dilation)
    except Exception as error:  # no compiler, an unknown GPU: the slower way still gives the result
        logger.warning("Triton's kernel does not run here, so a slower way is taken: %s", error)
        _broken.append(error)
        return None


def launch(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """`fused_deform_conv2d` without the question whether it can; also runs on a CPU in Triton's interpreter."""
    batch, channels, height, width = x.shape
    out = weight.shape[0]
    _, taps, lines, columns = mask.shape
    table = x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C): nothing is copied if x is channels-last
    kernel = weight.permute(2, 3, 1, 0).contiguous()  # (k, k, C, O)
    y = x.new_empty(batch, lines, columns, out)
    places, outs, inner, warps = tile(channels, out, x.element_size())
    function = _kernel()
    grid = (triton.cdiv(batch * lines * columns, places), triton.cdiv(out, outs))
    function[grid](
        *(table, offset, mask, kernel, y),
        *(height, width, lines, columns, batch * lines * columns),
        *offset.stride(),
        *mask.stride(),
        *(*stride, *padding, *dilation),
        CHANNELS=channels,
        OUT=out,
        TAPS=taps,
        ACROSS=weight.shape[3],
        PLACES=places,
        OUTS=outs,
        INNER=inner,
        num_warps=warps,
    )
    return y.permute(0, 3, 1, 2)


def tile(channels: int, out: int, element_size: int) -> tuple[int, int, int, int]:
    """How much a program takes: places, channels out, channels in at a time, and its warps.

    All channels out, if they are not too many, so that nothing is sampled twice. The largest tile needs 68 KiB of
    shared memory and 166 registers, without spilling (compiled for capabilities 8.0 and 9.0); which one is fastest was
    not tried on a GPU.
    """
    outs = min(max(_power_of_two(out), _SMALLEST), 256)
    inner = min(max(_power_of_two(channels), _SMALLEST), 32 if element_size == 2 else 16)
    return 64, outs, inner, 8 if outs == 256 else 4


def _power_of_two(number: int) -> int:
    """The smallest that is not below `number`."""
    return 1 << (number - 1).bit_length()


@cache
def _kernel() -> Any:
    """The compiled-on-call kernel; Triton is imported only now."""
    global triton, tl
    import triton
    import triton.language as tl

    return triton.jit(_deform)


# Runs on the GPU, so plain expressions only. A position that is not a number gives a sum that is none either.
def _deform(  # type: ignore[no-untyped-def]
    table,  # (B, H, W, C)
    offset,  # (B, 2K, h, w)
    mask,  # (B, K, h, w)
    kernel,  # (K, C, O)
    y,  # (B, h, w, O)
    height,
    width,
    lines,
    columns,
    total,  # B h w
    offset_b,
    offset_k,
    offset_h,
    offset_w,
    mask_b,
    mask_k,
    mask_h,
    mask_w,
    stride_y,
    stride_x,
    padding_y,
    padding_x,
    dilation_y,
    dilation_x,
    CHANNELS: tl.constexpr,
    OUT: tl.constexpr,
    TAPS: tl.constexpr,
    ACROSS: tl.constexpr,
    PLACES: tl.constexpr,
    OUTS: tl.constexpr,
    INNER: tl.constexpr,
):
    place = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    there = place < total
    column = place % columns
    line = (place // columns) % lines
    picture = (place // (columns * lines)).to(tl.int64)
    out = tl.program_id(1) * OUTS + tl.arange(0, OUTS)
    offset_at = offset + picture * offset_b + line * offset_h + column * offset_w
    mask_at = mask + picture * mask_b + line * mask_h + column * mask_w
    picture_at = table + picture * height * width * CHANNELS
    sums = tl.zeros((PLACES, OUTS), dtype=tl.float32)
    for tap in range(TAPS):
        factor = tl.load(mask_at + tap * mask_k, mask=there, other=0.0).to(tl.float32)
        down = tl.load(offset_at + 2 * tap * offset_k, mask=there, other=0.0).to(tl.float32)
        right = tl.load(offset_at + (2 * tap + 1) * offset_k, mask=there, other=0.0).to(tl.float32)
        down += (line * stride_y - padding_y + (tap // ACROSS) * dilation_y).to(tl.float32)
        right += (column * stride_x - padding_x + (tap % ACROSS) * dilation_x).to(tl.float32)
        # What sees nothing of the map goes to -2, so that no position overflows an integer.
        down = tl.where((down <= -1) | (down >= height), -2.0, down)
        right = tl.where((right <= -1) | (right >= width), -2.0, right)
        top_edge = tl.floor(down)
        left_edge = tl.floor(right)
        below = (down - top_edge) * factor
        above = factor - below
        behind = right - left_edge
        before = 1 - behind
        top = tl.where(top_edge >= -2, top_edge, -2.0).to(tl.int32)
        left = tl.where(left_edge >= -2, left_edge, -2.0).to(tl.int32)
        sees_top = there & (top >= 0)
        sees_bottom = there & (top >= -1) & (top + 1 < height)
        sees_left = left >= 0
        sees_right = (left >= -1) & (left + 1 < width)
        corner = (top * width + left) * CHANNELS
        for start in range(0, CHANNELS, INNER):
            channel = start + tl.arange(0, INNER)
            known = channel < CHANNELS
            at = (picture_at + corner)[:, None] + channel[None, :]
            top_left = tl.load(at, mask=(sees_top & sees_left)[:, None] & known[None, :], other=0.0)
            top_right = tl.load(at + CHANNELS, mask=(sees_top & sees_right)[:, None] & known[None, :], other=0.0)
            lower = at + width * CHANNELS
            bottom_left = tl.load(lower, mask=(sees_bottom & sees_left)[:, None] & known[None, :], other=0.0)
            bottom_right = tl.load(
                lower + CHANNELS, mask=(sees_bottom & sees_right)[:, None] & known[None, :], other=0.0
            )
            values = top_left.to(tl.float32) * (above * before)[:, None]
            values += top_right.to(tl.float32) * (above * behind)[:, None]
            values += bottom_left.to(tl.float32) * (below * before)[:, None]
            values += bottom_right.to(tl.float32) * (below * behind)[:, None]
            rows_at = kernel + (tap * CHANNELS + channel)[:, None] * OUT + out[None, :]
            rows = tl.load(rows_at, mask=known[:, None] & (out < OUT)[None, :], other=0.0)
            sums = tl.dot(values.to(rows.dtype), rows, sums, input_precision="ieee")
    y_at = y + place.to(tl.int64)[:, None] * OUT + out[None, :]
    tl.store(y_at, sums.to(y.dtype.element_ty), mask=there[:, None] & (out < OUT)[None, :])
