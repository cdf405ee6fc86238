"""Batch norms as part of the convolutions before them."""

from __future__ import annotations

import torch
from tests.network.inference.networks import with_statistics
from torch import nn

from birefnet.network.backbones.base import find_backbone
from birefnet.network.deform import DeformableConv
from birefnet.network.inference.folding import fold, fold_batch_norms


def test_one_convolution() -> None:
    conv, norm = nn.Conv2d(3, 5, 3, padding=1, bias=False).double(), nn.BatchNorm2d(5).double()
    with_statistics(norm)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    wanted = norm.eval()(conv(x))
    fold(conv, norm)
    torch.testing.assert_close(conv(x), wanted)


def test_a_norm_without_weights() -> None:
    conv, norm = nn.Conv2d(3, 5, 1).double(), nn.BatchNorm2d(5, affine=False).double()
    with_statistics(norm)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    wanted = norm.eval()(conv(x))
    fold(conv, norm)
    torch.testing.assert_close(conv(x), wanted)


def test_a_deformable_convolution() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = DeformableConv(3, 5, 3), nn.BatchNorm2d(5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.norm(self.conv(x))
            return y

    branch = with_statistics(Branch().double()).eval()
    nn.init.normal_(branch.conv.offset.weight)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    wanted = branch(x)
    fold_batch_norms(branch)
    assert isinstance(branch.norm, nn.Identity)
    torch.testing.assert_close(branch(x), wanted)


def test_no_norm_is_left_in_the_convolutional_backbones() -> None:
    for name in ("resnet50", "vgg16bn", "mobilenet_v2"):
        backbone = with_statistics(find_backbone(name).build().double()).eval()
        x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
        with torch.inference_mode():
            wanted = backbone(x)
            fold_batch_norms(backbone)
            assert not any(isinstance(part, nn.BatchNorm2d) for part in backbone.modules())
            torch.testing.assert_close(backbone(x), wanted, rtol=1e-9, atol=1e-9)
