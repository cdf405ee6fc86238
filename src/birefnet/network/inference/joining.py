"""The offsets and the mask of a deformable convolution come from one convolution in place of two.

Letters: B batch, C channels in, H W size of the map, K taps of the kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birefnet.network.deform import DeformableConv, deform_conv2d


class JoinedDeformableConv(nn.Module):
    """The function of a `DeformableConv`; (B, C, H, W) -> (B, out_width, H, W)."""

    def __init__(self, conv: DeformableConv) -> None:
        super().__init__()
        self.padding, self.kernel = conv.padding, conv.kernel
        self.movement = nn.Conv2d(  # (B, 3K, H, W): the offsets, then the mask before its sigmoid
            conv.offset.in_channels,
            conv.offset.out_channels + conv.modulation.out_channels,
            conv.offset.kernel_size[0],
            padding=conv.padding,
        )
        for name in ("weight", "bias"):
            joined = torch.cat((getattr(conv.offset, name), getattr(conv.modulation, name))).detach()
            setattr(self.movement, name, nn.Parameter(joined, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        movement = self.movement(x)
        taps = movement.shape[1] // 3
        offset, mask = movement[:, : 2 * taps], 2 * movement[:, 2 * taps :].sigmoid()
        return deform_conv2d(x, offset, mask, self.kernel.weight, self.kernel.bias, padding=self.padding)


def join_deformable_convs(network: nn.Module) -> None:
    """Change `network` in place: every `DeformableConv` becomes a joined one."""
    for parent in list(network.modules()):
        for name, module in parent.named_children():
            if isinstance(module, DeformableConv):
                setattr(parent, name, JoinedDeformableConv(module))
