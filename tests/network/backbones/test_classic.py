"""VGG16 and ResNet50: names, shapes, and where the groups are cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from birefnet.network.backbones.base import BACKBONES
from birefnet.network.backbones.classic import VGG16, Bottleneck, ResNet50

NAMES = ["vgg16", "vgg16bn", "resnet50"]


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_the_published_ones(name, published) -> None:
    with torch.device("meta"):
        state = BACKBONES[name].build().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == published(name)


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_table_s_widths_and_strides(name) -> None:
    spec = BACKBONES[name]
    with torch.device("meta"):
        maps = spec.build().eval()(torch.empty(2, 3, 96, 64))
    assert [tuple(x.shape) for x in maps] == [
        (2, c, 96 // s, 64 // s) for c, s in zip(spec.widths, spec.strides, strict=True)
    ]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_each_vgg_group_ends_with_a_pool(batch_norm) -> None:
    with torch.device("meta"):
        model = VGG16(batch_norm=batch_norm)
    groups = (model.conv1, model.conv2, model.conv3, model.conv4)
    assert all(isinstance(list(group.children())[-1], nn.MaxPool2d) for group in groups)
    assert [sum(isinstance(m, nn.Conv2d) for m in group.modules()) for group in groups] == [4, 3, 3, 3]


def test_a_bottleneck_with_silent_branch_is_its_shortcut() -> None:
    block, x = Bottleneck(32, 8).eval(), torch.randn(1, 32, 5, 5)
    assert block.downsample is None
    nn.init.zeros_(block.bn3.weight)
    torch.testing.assert_close(block(x), x.relu())


def test_a_strided_bottleneck_strides_in_its_3x3_convolution() -> None:
    block = Bottleneck(16, 8, stride=2)
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == ((1, 1), (2, 2), (1, 1))
    assert block(torch.randn(2, 16, 8, 6)).shape == (2, 32, 4, 3)


@pytest.mark.parametrize("build", [ResNet50, lambda: VGG16(batch_norm=True)])
def test_maps_repeat_are_not_negative_and_gradients_reach_every_weight(build) -> None:
    model, picture = build().eval(), torch.randn(1, 3, 64, 64)
    maps = model(picture)
    assert all(torch.equal(a, b) for a, b in zip(maps, model(picture), strict=True))
    assert all(x.min() >= 0 and x.max() > 0 for x in maps)
    sum(x.square().mean() for x in maps).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.weight.grad.any() for m in convolutions)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_close(dtype) -> None:
    model, picture = ResNet50().eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        exact = model(picture)
        halved = model.to(dtype)(picture.to(dtype))
    for x, y in zip(exact, halved, strict=True):
        assert y.dtype == dtype
        assert y.isfinite().all()
        assert (x - y.float()).abs().mean() < 0.05 * x.abs().mean()
