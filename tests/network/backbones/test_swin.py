"""Swin: names, shapes, what its windows see, and half precision without a single "not a number"."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from birefnet.network.backbones.base import BACKBONES
from birefnet.network.backbones.layers import DropPath
from birefnet.network.backbones.swin import (
    PatchMerging,
    Swin,
    _attend,
    _attend_and_learn,
    _blocked_pairs,
    _cut,
    _join,
)


def tiny(window: int = 3) -> Swin:
    return Swin(width=8, depths=(2, 2, 2, 2), heads=(1, 2, 2, 4), window=window)


@pytest.mark.parametrize("name", ["swin_v1_t", "swin_v1_s", "swin_v1_b", "swin_v1_l"])
def test_names_and_shapes_are_the_published_ones(name, published) -> None:
    with torch.device("meta"):
        state = BACKBONES[name].build().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == published(name)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (16, 48), (80, 112)])
def test_maps_shrink_and_widen(size: tuple[int, int]) -> None:
    maps = tiny().eval()(torch.randn(2, 3, *size))
    sizes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (4, 8, 16, 32)]
    assert [tuple(x.shape) for x in maps] == [(2, 8 << i, *sizes[i]) for i in range(4)]


def test_windows_are_cut_and_joined() -> None:
    x = torch.arange(2 * 6 * 9).reshape(2, 6, 9, 1)
    windows = _cut(x, 3)
    assert torch.equal(windows[1].reshape(3, 3), x[0, :3, 3:6, 0])
    assert torch.equal(_join(windows, 6, 9, 3), x)


def test_shifted_windows_do_not_see_across_the_border() -> None:
    """Two tokens of a shifted window may see each other only where they were neighbours before the shift."""
    window, shift, height, width = 3, 1, 5, 9  # the height is padded to 6
    blocked = _blocked_pairs(torch.zeros(1, height, width, 1), window, shift)
    rows = torch.arange(6)[:, None].expand(6, width).roll((-shift, -shift), (0, 1))
    columns = torch.arange(width)[None].expand(6, width).roll((-shift, -shift), (0, 1))
    rows, columns = (_cut(x[None, :, :, None], window)[..., 0] for x in (rows, columns))  # (windows, N)
    far = [(x[:, :, None] - x[:, None, :]).abs() >= window for x in (rows, columns)]
    assert torch.equal(blocked[:, 0], far[0] | far[1])
    assert not blocked.diagonal(dim1=2, dim2=3).any()  # or a row of the softmax would be empty


@torch.no_grad()
def test_what_a_token_sees() -> None:
    """After two blocks of window 3: its own window, then the shifted one; never the opposite border."""
    stage = tiny().eval().double().layers[0]
    x = torch.randn(1, 9, 9, 8, dtype=torch.float64)
    changed = x.clone()
    changed[0, 0, 0] = 5 * torch.randn(8)
    moved = (stage(x)[0] - stage(changed)[0]).abs().sum(-1)[0] > 0
    assert moved[:4, :4].all()  # the first window and, through the shift, one line further
    assert not moved[4:].any() and not moved[:, 4:].any()


def test_patches_merge_row_phase_first() -> None:
    merging = PatchMerging(1)
    merging.norm, merging.reduction = torch.nn.Identity(), torch.nn.Identity()
    x = torch.arange(16.0).reshape(1, 4, 4, 1)
    assert merging(x)[0, 0, 0].tolist() == [0, 4, 1, 5]
    assert merging(x[:, :3])[0, 1, 0].tolist() == [8, 0, 9, 0]  # zeros complete an odd map


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_is_finite(dtype: torch.dtype) -> None:
    model = tiny(window=7).eval().to(dtype)
    one_pixel = torch.full((1, 3, 64, 96), -2.1)
    one_pixel[:, :, 30, 40] = 2.6
    pictures = {
        "black": torch.full((1, 3, 64, 96), -2.1),
        "white": torch.full((1, 3, 64, 96), 2.6),
        "noise": 3 * torch.randn(1, 3, 64, 96),
        "one pixel": one_pixel,
    }
    for name, picture in pictures.items():
        assert all(x.isfinite().all() for x in model(picture.to(dtype))), name


@torch.no_grad()
def test_pictures_of_a_batch_do_not_meet() -> None:
    model, batch = tiny().eval(), torch.randn(3, 3, 32, 64)
    for alone, together in zip(model(batch[1:2]), model(batch), strict=True):
        torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_weight() -> None:
    model = tiny()
    sum(x.square().mean() for x in model(torch.randn(2, 3, 64, 64))).backward()
    missing = [
        name for name, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()
    ]
    assert not missing


def test_stochastic_depth_grows_to_the_last_block() -> None:
    rates = [
        part.rate
        for part in Swin(width=8, depths=(1, 1, 2, 1), heads=(1, 1, 1, 1), window=7).modules()
        if isinstance(part, DropPath)
    ]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_attention_is_a_biased_softmax() -> None:
    attention = tiny().layers[0].blocks[0].attn
    x = torch.randn(4, 9, 8)
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    scores = q @ k.transpose(1, 2) / 8**0.5 + _bias(attention.relative_position_bias_table, 3)
    torch.testing.assert_close(attention(x, None), attention.proj(scores.softmax(-1) @ v), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shifted", [False, True])
def test_learning_and_looking_attend_alike(shifted: bool) -> None:
    """Two pictures of 3 x 2 windows; with gradients a CPU goes another way than without."""
    blocked = _blocked_pairs(torch.zeros(1, 9, 6, 1), 3, 1) if shifted else None
    q, k, v = (torch.randn(12, 2, 9, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    bias = torch.randn(1, 2, 9, 9, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(12, 2, 9, 4, dtype=torch.float64)
    results = []
    for attend in (_attend, _attend_and_learn):
        y = attend(q, k, v, bias, blocked)
        results.append((y, *torch.autograd.grad((y * weights).sum(), (q, k, v, bias))))
    for ours, fused in zip(*results, strict=True):
        torch.testing.assert_close(ours, fused)


def _bias(table: Tensor, window: int) -> Tensor:
    """(N, N) of the first head, pair by pair."""
    places = [(y, x) for y in range(window) for x in range(window)]
    side = 2 * window - 1
    rows = [[(ay - by + window - 1) * side + ax - bx + window - 1 for by, bx in places] for ay, ax in places]
    return table[torch.tensor(rows), 0]
