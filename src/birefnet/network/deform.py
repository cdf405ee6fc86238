"""Deformable convolution, version 2 (Zhu et al., CVPR 2019), in plain torch: any device, any float type.

Every tap of the kernel looks where an offset tells it to, between the pixels, and is weighed by a mask. Here that is
sampling (`sampling.py`), then one matrix product. The columns between the two, K times as large as the map, exist only
for some lines of the output at a time, backwards too. On newer NVIDIA GPUs one kernel does both (`triton_deform.py`).

The function is an operator of its own (`birefnet::deform_conv2d`), so that compilers and exporters see one node.

Letters: B batch, C channels in, O channels out, H W size of the input, h w size of the output, K taps of the kernel,
M samples of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from birefnet.network.sampling import Lattice, from_table, give, make_table, products, take, wide
from birefnet.network.triton_deform import fused_deform_conv2d

Two = tuple[int, int]


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Two = 1,
    padding: int | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    """Deformable convolution of `x`; zero outside of it, bilinear between its pixels.

    Under autocast it computes in autocast's type, as a convolution does; positions are always float32 or wider.

    Args:
        x: (B, C, H, W).
        offset: (B, 2K, h, w) in pixels: pairs (dy, dx), one per tap, taps row by row.
        mask: (B, K, h, w), a factor per tap.
        weight: (O, C, kernel height, kernel width).
        bias: (O,) or None.
        stride: one number or (vertical, horizontal), like the two that follow.
        padding: rows and columns of zeros around `x`.
        dilation: distance of the taps.

    Returns:
        (B, O, h, w) of x's type.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        low = torch.get_autocast_dtype(device)
        x, weight = x.to(low), weight.to(low)
    y: Tensor = _deform_conv2d(x, offset, mask.to(x.dtype), weight, _pair(stride), _pair(padding), _pair(dilation))
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


class DeformableConv(nn.Module):
    """A deformable convolution that finds offsets and mask itself; it starts as a plain one.

    (B, C, H, W) -> (B, out_width, H, W); without bias, until a batch norm is folded into it.

    Args:
        width: channels of the input.
        out_width: channels of the output.
        kernel: side of the square kernel, odd.
    """

    def __init__(self, width: int, out_width: int, kernel: int) -> None:
        super().__init__()
        taps, self.padding = kernel * kernel, kernel // 2
        self.offset = nn.Conv2d(width, 2 * taps, kernel, padding=self.padding)
        self.modulation = nn.Conv2d(width, taps, kernel, padding=self.padding)
        self.kernel = nn.Conv2d(width, out_width, kernel, padding=self.padding, bias=False)
        for parameter in (*self.offset.parameters(), *self.modulation.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        mask = 2 * self.modulation(x).sigmoid()  # 1 at the start
        return deform_conv2d(x, self.offset(x), mask, self.kernel.weight, self.kernel.bias, padding=self.padding)


@torch.library.custom_op("birefnet::deform_conv2d", mutates_args=())
def _deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    fused = fused_deform_conv2d(x, offset, mask, weight, stride, padding, dilation)
    if fused is not None:
        return fused
    table, rows = make_table(x), _weight_rows(weight)
    lattice = Lattice(x, offset, mask, kernel=weight.shape[2:], stride=stride, padding=padding, dilation=dilation)
    y = [take(table, samples).reshape(-1, len(rows)) @ rows for _, samples in lattice.blocks()]
    return _from_places(torch.cat(y), mask)


@_deform_conv2d.register_fake
def _(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    batch, _, height, width = mask.shape
    return _from_places(x.new_empty(batch * height * width, weight.shape[0]), mask)


@torch.library.custom_op("birefnet::deform_conv2d_backward", mutates_args=())
def _deform_conv2d_backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, offset, mask and weight; sums are kept in float32 or wider."""
    precise = wide(x.dtype)
    table, rows = make_table(x), _weight_rows(weight)
    precise_table = table.to(precise)
    lattice = Lattice(x, offset, mask, kernel=weight.shape[2:], stride=stride, padding=padding, dilation=dilation)
    grad_table, grad_rows = torch.zeros_like(precise_table), torch.zeros_like(rows, dtype=precise)
    grad_offset, grad_mask = [], []
    grad = grad.permute(0, 2, 3, 1).reshape(-1, weight.shape[0])  # (B, O, h, w) -> (B h w, O)
    for places, samples in lattice.blocks():
        columns = take(table, samples).reshape(-1, len(rows))
        grad_rows += columns.T @ grad[places]
        grad_values = (grad[places] @ rows.T).to(precise).reshape(-1, x.shape[1])  # (M, C)
        grad_corners = products(precise_table, samples, grad_values)
        give(grad_table, samples, grad_values)
        moved, weighed = samples.backward(grad_corners)
        grad_offset.append(moved)
        grad_mask.append(weighed)
    return (
        from_table(grad_table, x),
        torch.empty_like(offset).copy_(_from_places(torch.cat(grad_offset), mask)),
        torch.empty_like(mask).copy_(_from_places(torch.cat(grad_mask), mask)),
        torch.empty_like(weight).copy_(_from_weight_rows(grad_rows, weight)),
    )


@_deform_conv2d_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(offset), torch.empty_like(mask), torch.empty_like(weight)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.stride, ctx.padding, ctx.dilation = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = _deform_conv2d_backward(grad, *ctx.saved_tensors, ctx.stride, ctx.padding, ctx.dilation)
    return (*grads, None, None, None)


_deform_conv2d.register_autograd(_backward, setup_context=_remember)


def _weight_rows(weight: Tensor) -> Tensor:
    """(O, C, kernel height, kernel width) -> (K C, O): the order of the columns."""
    return weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])


def _from_weight_rows(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_weight_rows`."""
    out, channels, height, width = like.shape
    return rows.reshape(height, width, channels, out).permute(3, 2, 0, 1)


def _from_places(values: Tensor, like: Tensor) -> Tensor:
    """Values of all places, B h w times any number, -> (B, any, h, w), channels-last in memory."""
    batch, _, height, width = like.shape
    return values.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _pair(value: int | Two) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
