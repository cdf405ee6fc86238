"""PVTv2: names, shapes, and what its attention and MLP compute."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from birefnet.errors import InputError
from birefnet.network.backbones.base import BACKBONES
from birefnet.network.backbones.layers import DropPath
from birefnet.network.backbones.pvt_v2 import Attention, DepthwiseConv, PVTv2


def tiny() -> PVTv2:
    return PVTv2(widths=(8, 16, 20, 32), depths=(1, 1, 2, 1), mlp_ratios=(2, 2, 2, 2))


@pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b1", "pvt_v2_b2", "pvt_v2_b5"])
def test_names_and_shapes_are_the_published_ones(name, published) -> None:
    with torch.device("meta"):
        state = BACKBONES[name].build().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == published(name)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (224, 32)])
def test_maps_have_the_table_s_widths_and_strides(size) -> None:
    spec = BACKBONES["pvt_v2_b0"]
    maps = spec.build().eval()(torch.randn(2, 3, *size))
    height, width = size
    expected = [(2, c, height // s, width // s) for c, s in zip(spec.widths, spec.strides, strict=True)]
    assert [tuple(x.shape) for x in maps] == expected


def test_maps_are_normalised_over_channels() -> None:
    for x in tiny().eval()(torch.randn(1, 3, 64, 64)):
        assert x.mean(1).abs().max() < 1e-4
        assert (x.var(1, unbiased=False) - 1).abs().max() < 1e-2


def test_pictures_of_a_batch_do_not_touch() -> None:
    model, pictures = tiny().eval(), torch.randn(2, 3, 64, 32)
    for both, first in zip(model(pictures), model(pictures[:1]), strict=True):
        torch.testing.assert_close(both[:1], first, rtol=1e-4, atol=1e-5)


def test_a_picture_too_small_for_the_reduction_is_refused() -> None:
    with pytest.raises(InputError, match=r"at least 32x32, got 64x16"):
        tiny()(torch.zeros(1, 3, 64, 16))


def test_attention_is_softmax_over_the_smaller_map() -> None:
    attention, x = Attention(12, heads=3, reduction=2), torch.randn(1, 4, 6, 12)
    small = attention.reduce(x)
    assert small.shape == (1, 2, 3, 12)
    keys, values = attention.kv(small).reshape(6, 2, 3, 4).unbind(1)  # (M, heads, D)
    query = attention.q(x).reshape(24, 3, 4)
    weights = torch.einsum("nhd,mhd->hnm", query / 2, keys).softmax(-1)  # 2 = sqrt(D)
    expected = attention.proj(torch.einsum("hnm,mhd->nhd", weights, values).reshape(1, 4, 6, 12))
    torch.testing.assert_close(attention(x), expected)


def test_without_reduction_keys_come_from_the_map_itself() -> None:
    attention, x = Attention(8, heads=2, reduction=1), torch.randn(1, 3, 3, 8)
    assert attention.reduce(x) is x
    assert not hasattr(attention, "sr")


def test_depthwise_convolution_keeps_channels_apart_and_looks_one_position_far() -> None:
    layer, x = DepthwiseConv(4), torch.zeros(1, 7, 7, 4)
    changed = x.clone()
    changed[0, 3, 3, 1] = 1
    difference = (layer(changed) - layer(x))[0] != 0
    assert difference[2:5, 2:5, 1].all()
    assert difference.sum() == 9


def test_depth_drops_up_to_a_tenth_and_only_in_training() -> None:
    model, picture = tiny(), torch.randn(4, 3, 32, 32)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])
    model.eval()
    assert all(torch.equal(a, b) for a, b in zip(model(picture), model(picture), strict=True))


def test_gradients_reach_every_weight() -> None:
    model = tiny().eval()
    maps = model(torch.randn(1, 3, 64, 64))
    sum(functional.mse_loss(x, torch.randn_like(x)) for x in maps).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_close(dtype) -> None:
    model, picture = tiny().eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        exact = model(picture)
        halved = model.to(dtype)(picture.to(dtype))
    for x, y in zip(exact, halved, strict=True):
        assert y.dtype == dtype
        assert y.isfinite().all()
        assert (x - y.float()).abs().mean() < 0.05
