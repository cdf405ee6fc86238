"""DINOv3: names, shapes, and the rotation that tells positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from birefnet.errors import InputError
from birefnet.network.backbones.base import BACKBONES
from birefnet.network.backbones.dinov3 import PREFIX, Attention, DINOv3, GatedMlp, Rotation

NAMES = [f"dino_v3_{size}" for size in ("s", "s_plus", "b", "l", "h_plus", "7b")]


def tiny(gated: bool = False) -> DINOv3:
    model = DINOv3(width=32, depth=4, heads=2, hidden=48, taps=(0, 1, 2, 3), gated=gated).eval()
    for name, parameter in model.named_parameters():
        if "gamma" in name:  # fresh ones are so small that no block would be seen
            nn.init.uniform_(parameter, 0.5, 1.0)
        elif "qkv" in name:  # and fresh attention is all but even
            nn.init.normal_(parameter, std=0.3)
    return model


def rotation(height: int, width: int, channels: int, dtype: torch.dtype = torch.float32) -> Rotation:
    return Rotation.of_grid(height, width, channels, device=torch.device("cpu"), dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_the_published_ones(name, published) -> None:
    with torch.device("meta"):
        state = BACKBONES[name].build().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == published(name)


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_table_s_widths_and_strides(name) -> None:
    spec = BACKBONES[name]
    with torch.device("meta"):
        maps = spec.build().eval()(torch.empty(2, 3, 48, 80))
    assert [tuple(x.shape) for x in maps] == [(2, width, 3, 5) for width in spec.widths]
    assert spec.strides == (16, 16, 16, 16)


def test_a_size_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(InputError, match="multiples of 16, got 32x40"):
        tiny()(torch.zeros(1, 3, 32, 40))


def test_rotation_keeps_lengths_and_leaves_the_prefix_alone() -> None:
    turn, x = rotation(2, 4, 16), torch.randn(2, 2, PREFIX + 8, 16)
    turned = turn(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, :PREFIX], x[:, :, :PREFIX])
    assert not torch.isclose(turned[:, :, PREFIX:], x[:, :, PREFIX:]).all(-1).any()


def test_rotation_angles_are_those_of_the_paper() -> None:
    height, width, channels = 2, 3, 8
    turn = rotation(height, width, channels)
    for row in range(height):
        for column in range(width):
            y, x = 2 * (row + 0.5) / height - 1, 2 * (column + 0.5) / width - 1
            angles = [2 * np.pi * place / 100 ** (i / 2) for place in (y, x) for i in range(2)]
            token = PREFIX + row * width + column
            np.testing.assert_allclose(turn.cosine[token], np.cos(angles * 2), atol=1e-6)
            np.testing.assert_allclose(turn.sine[token], np.sin(angles * 2), atol=1e-6)


def test_turned_products_depend_on_the_offset_alone() -> None:
    turn, query, key = rotation(4, 4, 16), torch.randn(16), torch.randn(16)
    queries, keys = (turn(x.expand(1, 1, PREFIX + 16, 16))[0, 0, PREFIX:].reshape(4, 4, 16) for x in (query, key))
    products = torch.einsum("ijd,kld->ijkl", queries, keys)
    for here, there in [((0, 0), (1, 2)), ((2, 3), (0, 1)), ((3, 0), (1, 2))]:
        (i, j), (k, m) = here, there
        step_i, step_j = (1 if max(i, k) < 3 else -1), (1 if max(j, m) < 3 else -1)
        torch.testing.assert_close(products[i, j, k, m], products[i + step_i, j + step_j, k + step_i, m + step_j])


def test_rotation_in_half_precision_is_the_rounded_exact_one() -> None:
    exact, halved = rotation(144, 144, 64), rotation(144, 144, 64, torch.bfloat16)
    assert torch.equal(exact.sine.to(torch.bfloat16), halved.sine)
    assert torch.equal(exact.cosine.to(torch.bfloat16), halved.cosine)


def test_attention_is_softmax_over_turned_tokens() -> None:
    attention, turn, x = Attention(16, heads=2), rotation(2, 2, 8), torch.randn(1, PREFIX + 4, 16)
    query, key, value = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    weights = (turn(query) @ turn(key).transpose(-1, -2) / 8**0.5).softmax(-1)
    expected = attention.proj((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, turn), expected)


def test_the_gate_is_a_silu() -> None:
    mlp, x = GatedMlp(4, 6), torch.randn(2, 4)
    gate = mlp.fc1_g(x)
    torch.testing.assert_close(mlp(x), mlp.fc2(gate * gate.sigmoid() * mlp.fc1_x(x)))


def test_silent_blocks_leave_the_patches_as_they_are() -> None:
    model, picture = tiny(), torch.randn(1, 3, 32, 48)
    for name, parameter in model.named_parameters():
        if "gamma" in name:
            nn.init.zeros_(parameter)
    for x in model(picture):
        torch.testing.assert_close(x, model.patch_embed(picture))


def test_taps_choose_the_blocks() -> None:
    torch.manual_seed(1)
    every = tiny()
    late = DINOv3(width=32, depth=6, heads=2, hidden=48, taps=(1, 2, 3, 5)).eval()
    late.load_state_dict(every.state_dict(), strict=False)
    picture = torch.randn(1, 3, 32, 32)
    for x, y in zip(every(picture)[1:], late(picture)[:3], strict=True):
        torch.testing.assert_close(x, y)


def test_a_moved_picture_does_not_give_a_moved_map() -> None:
    model, picture = tiny(), torch.randn(1, 3, 32, 64)
    plain, moved = model(picture)[3], model(picture.roll(16, dims=-1))[3]
    assert not torch.allclose(plain.roll(1, dims=-1), moved, atol=1e-3)


@pytest.mark.parametrize("gated", [False, True])
def test_gradients_reach_every_weight(gated) -> None:
    model = tiny(gated)
    maps = model(torch.randn(2, 3, 32, 48))
    sum(functional.mse_loss(x, torch.randn_like(x)) for x in maps).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_close(dtype) -> None:
    model, picture = tiny(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        exact = model(picture)
        halved = model.to(dtype)(picture.to(dtype))
    for x, y in zip(exact, halved, strict=True):
        assert y.dtype == dtype
        assert y.isfinite().all()
        assert (x - y.float()).abs().mean() < 0.05 * x.abs().mean()
