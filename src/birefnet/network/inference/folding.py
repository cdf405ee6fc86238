"""Batch norms become part of the convolutions before them (Jacob et al., CVPR 2018, equation 14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birefnet.network.deform import DeformableConv

# Attributes of one module that are always used one after the other.
_PAIRS = (
    *(("conv", "norm"), ("conv_in", "norm_in"), ("conv_out", "norm_out"), ("fuse", "fuse_norm")),
    *((f"conv{number}", f"bn{number}") for number in (1, 2, 3)),
)


def fold_batch_norms(network: nn.Module) -> None:
    """Change `network` in place: the same function in evaluation mode, without the norms that follow a convolution."""
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            _fold_row(module)
        for conv, norm in _PAIRS:
            if isinstance(getattr(module, norm, None), nn.BatchNorm2d):
                before = getattr(module, conv)
                fold(before.kernel if isinstance(before, DeformableConv) else before, getattr(module, norm))
                setattr(module, norm, nn.Identity())


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Scale and shift what `conv` gives as `norm` would do it, by its weights; worked out in float64."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None, "a norm without statistics is another function"
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    shift = (bias - mean.double()) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    dtype = conv.weight.dtype
    conv.weight = _constant((conv.weight.double() * scale[:, None, None, None]).to(dtype))
    conv.bias = _constant(shift.to(dtype))


def _fold_row(row: nn.Sequential) -> None:
    for index in range(len(row) - 1):
        conv, norm = row[index], row[index + 1]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            fold(conv, norm)
            row[index + 1] = nn.Identity()


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach(), requires_grad=False)
