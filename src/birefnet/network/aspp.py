"""Atrous spatial pyramid pooling (Chen et al., 2017): looks of several sizes at one map, fused.

The branches are dilated convolutions, or deformable ones that learn where to look.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.blocks import make_norm
from birefnet.network.deform import DeformableConv
from birefnet.network.recompute import Recomputable

_DILATIONS = (1, 6, 12, 18)  # the first is a 1x1 convolution
_DEFORMABLE_KERNELS = (1, 1, 3, 7)


class ASPP(nn.Module):
    """Four branches and a pooled one, joined by a 1x1 convolution; (B, C, H, W) -> (B, out_width, H, W).

    Args:
        width: channels of the input.
        out_width: channels of the output; the input's unless given.
        branch_width: channels of each branch.
        deformable: deformable kernels of 1, 1, 3, 7 instead of dilations 1, 6, 12, 18.
        batch_norm: whether to normalise after each convolution.
        dropout: the share of outputs dropped while training.
    """

    def __init__(
        self,
        width: int,
        out_width: int | None = None,
        *,
        branch_width: int = 256,
        deformable: bool = False,
        batch_norm: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        out_width = out_width or width
        convolutions: list[nn.Module]
        if deformable:
            convolutions = [DeformableConv(width, branch_width, kernel) for kernel in _DEFORMABLE_KERNELS]
        else:
            convolutions = [_dilated(width, branch_width, dilation) for dilation in _DILATIONS]
        self.branches = nn.ModuleList(_Branch(conv, branch_width, batch_norm) for conv in convolutions)
        self.pooled = _PooledBranch(width, branch_width, batch_norm)
        self.fuse = nn.Conv2d(branch_width * (len(convolutions) + 1), out_width, 1, bias=False)
        self.fuse_norm = make_norm(out_width, batch_norm)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        looks = [branch(x) for branch in self.branches]
        fused = F.relu(self.fuse_norm(self._fused([*looks, self.pooled(x)])))
        y: Tensor = self.dropout(fused)
        return y

    def _fused(self, looks: list[Tensor]) -> Tensor:
        """`fuse` of all looks on top of each other, as a sum of one product per look.

        The map of all their channels, the largest of the network, is never made, and the pooled look, (B, C, 1, 1),
        is spread only when it has become a summand.
        """
        weights = torch.split(self.fuse.weight, [look.shape[1] for look in looks], dim=1)
        products = [F.conv2d(look, weight) for look, weight in zip(looks, weights, strict=True)]
        y = sum(products[1:], products[0])
        if self.fuse.bias is not None:
            y = y + self.fuse.bias[:, None, None]
        return y


class _Branch(Recomputable):
    """One convolution, its norm and a ReLU."""

    def __init__(self, conv: nn.Module, width: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = make_norm(width, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class _PooledBranch(nn.Module):
    """The mean of the whole map, convolved: (B, C, H, W) -> (B, out_width, 1, 1)."""

    def __init__(self, width: int, out_width: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out_width, 1, bias=False)
        self.norm = make_norm(out_width, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.mean(dim=(2, 3), keepdim=True))
        if self.training and len(y) == 1 and isinstance(self.norm, nn.BatchNorm2d):
            # One value per channel has no variance: use the statistics gathered so far, as in evaluation.
            norm = self.norm
            return F.relu(F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))
        return F.relu(self.norm(y))


def _dilated(width: int, out_width: int, dilation: int) -> nn.Conv2d:
    if dilation == 1:
        return nn.Conv2d(width, out_width, 1, bias=False)
    return nn.Conv2d(width, out_width, 3, padding=dilation, dilation=dilation, bias=False)
