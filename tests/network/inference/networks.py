"""Networks whose every part matters: norms with statistics of their own, offsets that move."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def with_statistics(module: M) -> M:
    """Give every batch norm in it a mean, a variance and weights that change what it sees."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias)
    return module


@torch.no_grad()
def randomised(module: M) -> M:
    """Random weights throughout, so large that no part of the module could be left out unnoticed."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5)
        elif "norm" not in name:
            parameter.normal_(0, 0.3)
        if "offset" in name:
            parameter.mul_(2)
    return with_statistics(module)
