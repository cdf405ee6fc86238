"""The small parts: tiles, resizing, blocks, gradient gate, ASPP."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from birefnet.network.aspp import ASPP
from birefnet.network.blocks import DecoderBlock, GradientGate, PictureBlock, cut_into_tiles, resize
from birefnet.network.deform import DeformableConv


def test_tiles_are_contiguous_regions() -> None:
    picture = torch.randn(2, 3, 16, 24)
    tiles = cut_into_tiles(picture, 4)
    assert tiles.shape == (2, 3 * 16, 4, 6)
    for channel in range(3):
        for row in range(4):
            for column in range(4):
                region = picture[:, channel, row * 4 : row * 4 + 4, column * 6 : column * 6 + 6]
                assert torch.equal(tiles[:, channel * 16 + row * 4 + column], region)


def test_resize_keeps_the_corners() -> None:
    x = torch.randn(1, 2, 3, 4)
    y = resize(x, (7, 9))
    torch.testing.assert_close(y[..., ::6, ::8], x[..., ::2, ::3])
    assert resize(x, (3, 4)) is x


def test_decoder_block_ends_without_relu() -> None:
    block = DecoderBlock(6, 5, inner_width=4, attention=None).eval()
    y = block(torch.randn(2, 6, 8, 9))
    assert y.shape == (2, 5, 8, 9)
    assert (y < 0).any()


def test_residual_adds_a_projection_of_the_input() -> None:
    block = DecoderBlock(6, 5, inner_width=4, attention=None, residual=True).eval()
    x = torch.randn(1, 6, 4, 4)
    assert block.shortcut is not None
    y = block(x) - block.shortcut(x)
    block.shortcut = None
    torch.testing.assert_close(block(x), y)


def test_without_batch_norm_there_is_none() -> None:
    attention = ASPP(4, branch_width=3, deformable=True, batch_norm=False)
    block = DecoderBlock(6, 5, inner_width=4, attention=attention, batch_norm=False)
    gate = GradientGate(5, inner_width=3, batch_norm=False)
    assert not [part for module in (block, gate) for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def test_gradient_gate_weighs_the_whole_map_by_one_factor_per_place() -> None:
    gate = GradientGate(5, inner_width=3).eval()
    x = torch.randn(2, 5, 4, 6)
    weighed, features = gate(x)
    assert features.shape == (2, 3, 4, 6)
    torch.testing.assert_close(weighed, x * gate.attention(features).sigmoid())
    assert gate.head(features).shape == (2, 1, 4, 6)


def test_picture_block() -> None:
    assert PictureBlock(48, 5, inner_width=7)(torch.randn(2, 48, 3, 2)).shape == (2, 5, 3, 2)


@pytest.mark.parametrize("deformable", [False, True])
def test_aspp_is_the_sum_of_its_looks(deformable: bool) -> None:
    aspp = ASPP(6, 7, branch_width=5, deformable=deformable).eval()
    x = torch.randn(2, 6, 9, 8)
    looks = [F.relu(branch.norm(branch.conv(x))) for branch in aspp.branches]
    pooled = F.relu(aspp.pooled.norm(aspp.pooled.conv(x.mean(dim=(2, 3), keepdim=True))))
    looks.append(F.interpolate(pooled, size=(9, 8), mode="bilinear", align_corners=True))
    torch.testing.assert_close(aspp(x), F.relu(aspp.fuse_norm(aspp.fuse(torch.cat(looks, dim=1)))))
    kinds = {type(branch.conv) for branch in aspp.branches}
    assert kinds == ({DeformableConv} if deformable else {nn.Conv2d})


def test_plain_aspp_looks_at_four_distances() -> None:
    convolutions = [branch.conv for branch in ASPP(4).branches]
    assert [conv.dilation[0] for conv in convolutions] == [1, 6, 12, 18]
    assert [conv.kernel_size[0] for conv in convolutions] == [1, 3, 3, 3]


def test_aspp_trains_on_a_single_picture() -> None:
    aspp = ASPP(4, branch_width=3).train()
    before = aspp.pooled.norm.running_mean.clone()
    y = aspp(torch.randn(1, 4, 5, 5))
    y.sum().backward()
    assert y.isfinite().all()
    assert torch.equal(aspp.pooled.norm.running_mean, before)  # one value says nothing about the spread
    aspp(torch.randn(2, 4, 5, 5))
    assert not torch.equal(aspp.pooled.norm.running_mean, before)
