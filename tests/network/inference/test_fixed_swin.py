"""Swin for pictures of one size: the same maps, whatever the size and the parts."""

from __future__ import annotations

import pytest
import torch
from tests.network.inference.networks import randomised

from birefnet.network.backbones.swin import Swin
from birefnet.network.inference.fixed_swin import FixedSwin, make_plan


def tiny() -> Swin:
    return randomised(Swin(width=8, depths=(2, 2, 4, 2), heads=(1, 2, 2, 4), window=3)).eval().double()


@pytest.mark.parametrize("part_bytes", [1, 4000, 1 << 20])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 160)])
@torch.inference_mode()
def test_the_same_maps(size: tuple[int, int], part_bytes: int) -> None:
    swin = tiny()
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    half = torch.randn(1, 3, size[0] // 2, size[1] // 2, dtype=torch.float64)
    fixed = FixedSwin(swin, [size, (size[0] // 2, size[1] // 2)], part_bytes)
    for picture in (x, half):
        for ours, map_ in zip(fixed(picture), swin(picture), strict=True):
            torch.testing.assert_close(ours, map_, rtol=1e-9, atol=1e-9)


def test_other_sizes_are_unknown() -> None:
    with pytest.raises(KeyError):
        FixedSwin(tiny(), [(64, 64)], 4000)(torch.zeros(1, 3, 96, 64, dtype=torch.float64))


@pytest.mark.parametrize("per_part", [1, 3, 1000])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [(7, 10), (2, 2), (9, 9)])
def test_a_plan_holds_every_token_once(size: tuple[int, int], shift: int, per_part: int) -> None:
    tokens = size[0] * size[1]
    plan = make_plan(*size, 3, shift, per_part)
    rows = torch.cat([part.rows for part in plan.parts])
    assert sorted(rows[rows < tokens].tolist()) == list(range(tokens))
    assert rows[plan.back.long()].tolist() == list(range(tokens))
    assert plan.padded == bool((rows == tokens).any())
    assert all(len(part.rows) <= 9 * per_part for part in plan.parts)
    assert any(part.blocked is not None for part in plan.parts) == bool(shift)
