"""Offsets and mask from one convolution."""

from __future__ import annotations

import torch
from tests.network.inference.networks import randomised
from torch import nn

from birefnet.network.deform import DeformableConv
from birefnet.network.inference.joining import JoinedDeformableConv, join_deformable_convs


def test_the_same_function() -> None:
    for kernel in (1, 3, 7):
        conv = randomised(DeformableConv(4, 6, kernel).double())
        x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
        torch.testing.assert_close(JoinedDeformableConv(conv).double()(x), conv(x))


def test_every_one_is_found() -> None:
    network = nn.Sequential(nn.Sequential(DeformableConv(3, 4, 3)), DeformableConv(4, 5, 1))
    join_deformable_convs(network)
    kinds = [type(part) for part in network.modules()]
    assert kinds.count(JoinedDeformableConv) == 2 and DeformableConv not in kinds
