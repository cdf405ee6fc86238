"""Swin by blocks: the same maps, whatever the size, the batch and the size of the blocks."""

from __future__ import annotations

import pytest
import torch
from tests.network.inference.networks import randomised
from tests.rounding import spread

from birefnet.network.backbones.swin import Swin
from birefnet.network.inference.swin import SwinByBlocks, Windows, _plan


def tiny() -> Swin:
    return randomised(Swin(width=8, depths=(2, 2, 4, 2), heads=(1, 2, 2, 4), window=3)).eval()


@pytest.mark.parametrize("block_bytes", [1, 4000, 1 << 20])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 160)])
@torch.inference_mode()
def test_the_same_maps(size: tuple[int, int], block_bytes: int) -> None:
    swin = tiny().double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    wanted = swin(x)
    for ours, map_ in zip(SwinByBlocks(swin, block_bytes)(x), wanted, strict=True):
        torch.testing.assert_close(ours, map_, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_half_precision_adds_up_in_single() -> None:
    """So it is off by no more than rounding every value once makes it: sums lose nothing."""
    swin = tiny()
    x = torch.randn(1, 3, 64, 64)
    half = tiny().bfloat16()
    half.load_state_dict(swin.state_dict())
    rounded_once = spread(swin, x, lambda maps: [maps[3]], dtype=torch.bfloat16)
    rounded_once.check(SwinByBlocks(half, 1 << 20)(x.bfloat16())[3].float(), factor=1)


def test_a_plan_holds_every_token_once() -> None:
    for height, width, shift in ((7, 10, 0), (7, 10, 1), (2, 2, 1), (9, 9, 1)):
        plan = list(_plan(2, height, width, 3, shift, 2, torch.float32))
        rows = torch.cat([windows.rows for windows in plan])
        real = rows[rows < 2 * height * width]
        assert sorted(real.tolist()) == list(range(2 * height * width))
        assert all(_padding_is_behind_the_table(windows, 2 * height * width) for windows in plan)
        assert any(windows.blocked is not None for windows in plan) == bool(shift)


@torch.inference_mode()
def test_plans_of_old_sizes_are_forgotten() -> None:
    swin = SwinByBlocks(tiny(), 1 << 20)
    for side in range(32, 32 * 12, 32):
        swin(torch.randn(1, 3, side, 32))
    assert all(len(stage._plans) <= 8 for stage in swin.stages)  # type: ignore[arg-type]


def _padding_is_behind_the_table(windows: Windows, tokens: int) -> bool:
    padding = windows.rows == tokens
    return bool(padding.any()) == (windows.padding is not None) and bool((windows.rows <= tokens).all())
