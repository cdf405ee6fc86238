"""MobileNetV2: shapes, TensorFlow's padding, and the pictures' range."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from birefnet.network.backbones.base import BACKBONES
from birefnet.network.backbones.mobilenet_v2 import MobileNetV2, _centred, _ConvNorm


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (48, 80)])
def test_maps_have_the_table_s_widths_and_strides(size: tuple[int, int]) -> None:
    spec = BACKBONES["mobilenet_v2"]
    maps = spec.build().eval()(torch.randn(2, 3, *size))
    expected = [(2, w, -(-size[0] // s), -(-size[1] // s)) for w, s in zip(spec.widths, spec.strides, strict=True)]
    assert [tuple(x.shape) for x in maps] == expected


def test_names_and_size() -> None:
    model = MobileNetV2()
    names = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    parts = [f"blocks.{i}.{part}" for i in range(17) for part in ("expand", "depthwise", "project")]
    assert names == {f"{part}.{kind}" for part in ("stem", *parts) for kind in ("conv", "norm")} - {
        "blocks.0.expand.conv",
        "blocks.0.expand.norm",
    }
    assert sum(value.numel() for value in model.parameters()) == 1_811_712
    assert not [name for name, _ in model.named_parameters() if name.endswith("conv.bias")]


@pytest.mark.parametrize("length", [8, 9, 16, 31])
def test_strided_convolutions_pad_as_tensorflow(length: int) -> None:
    layer = _ConvNorm(2, 2, kernel=3, stride=2, groups=2).eval()
    layer.norm = torch.nn.Identity()
    x = torch.randn(1, 2, length, 10)
    total = [max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in (length, 10)]
    before = [n // 2 for n in total]
    padded = F.pad(x, (before[1], total[1] - before[1], before[0], total[0] - before[0]))
    expected = F.conv2d(padded, layer.conv.weight, stride=2, groups=2)
    torch.testing.assert_close(layer(x), expected)


def test_pictures_are_centred_on_grey() -> None:
    values = torch.tensor([0.0, 128.0, 255.0]).reshape(1, 1, 1, 3).expand(1, 3, 1, 3)
    mean = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    torch.testing.assert_close(_centred((values / 255 - mean) / deviation), (values - 128) / 128, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_is_finite(dtype: torch.dtype) -> None:
    model = MobileNetV2().eval().to(dtype)
    for picture in (torch.full((1, 3, 32, 64), -2.1), torch.full((1, 3, 32, 64), 2.6), torch.randn(1, 3, 32, 64)):
        assert all(x.isfinite().all() for x in model(picture.to(dtype)))


def test_gradients_reach_every_weight() -> None:
    model = MobileNetV2()
    sum(x.square().mean() for x in model(torch.randn(2, 3, 64, 64))).backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None]
