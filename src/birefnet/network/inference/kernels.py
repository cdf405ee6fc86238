"""Products with what follows them in one operation: oneDNN's kernels on a CPU, plain torch elsewhere.

In float32 oneDNN's products also run at twice the speed of MKL's on processors that are not Intel's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Then = Literal["none", "relu", "gelu"]
_FUSED_TYPES = (torch.float32, torch.bfloat16)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, then: Then = "none") -> Tensor:
    """`then(x @ weight.T + bias)`: x (..., C), weight (O, C), bias (O,) or None -> (..., O)."""
    if _fuses(x):
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none" if then == "gelu" else "")
        return y
    return _activate(F.linear(x, weight, bias), then)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    then: Then = "none",
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """`then` of a convolution; shapes and options as those of `torch.nn.functional.conv2d`."""
    if _fuses(x):
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, list(padding), list(stride), list(dilation), groups, then, [], ""
        )
        return y
    y = F.conv2d(x, weight, bias, tuple(stride), tuple(padding), tuple(dilation), groups)
    return _activate(y, then)


def _activate(y: Tensor, then: Then) -> Tensor:
    match then:
        case "relu":
            return F.relu_(y)
        case "gelu":
            return F.gelu(y)
        case _:
            return y


def _fuses(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in _FUSED_TYPES and _has_onednn(x.dtype)


@cache
def _has_onednn(dtype: torch.dtype) -> bool:
    """Whether this torch has the kernels and this processor can run them in `dtype`."""
    names = torch.ops.mkldnn
    if not torch._C._has_mkldnn or not hasattr(names, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return hasattr(names, "_is_mkldnn_bf16_supported") and bool(names._is_mkldnn_bf16_supported())
    return True
