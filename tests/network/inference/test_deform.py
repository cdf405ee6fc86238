"""Deformable ASPP by blocks of lines."""

from __future__ import annotations

import pytest
import torch
from tests.network.inference.networks import randomised

from birefnet.network.aspp import ASPP
from birefnet.network.inference import deform
from birefnet.network.inference.deform import DeformableASPPByBlocks
from birefnet.network.inference.folding import fold_batch_norms


def make(batch_norm: bool = True, spread: float = 1.0) -> ASPP:
    aspp = randomised(ASPP(6, 5, branch_width=7, deformable=True, batch_norm=batch_norm)).double().eval()
    for branch in aspp.branches:
        branch.conv.offset.weight.data.mul_(spread)  # type: ignore[union-attr]
    return aspp


@pytest.mark.parametrize("whole_offsets", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 40_000, 1 << 22])
@pytest.mark.parametrize("spread", [0.3, 10.0])
@torch.inference_mode()
def test_the_same_map(spread: float, block_bytes: int, whole_offsets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deform, "_BAND", 5)
    aspp = make(spread=spread)
    x = torch.randn(2, 6, 12, 9, dtype=torch.float64)
    wanted = aspp(x)
    fold_batch_norms(aspp)
    ours = DeformableASPPByBlocks(aspp, block_bytes, whole_offsets=whole_offsets)(x)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_without_norms() -> None:
    aspp = make(batch_norm=False)
    x = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(DeformableASPPByBlocks(aspp, 1 << 20)(x), aspp(x))


@torch.inference_mode()
def test_rows_beyond_what_float32_can_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deform, "_EXACT", 1)
    aspp = make(batch_norm=False)
    x = torch.randn(1, 6, 8, 11, dtype=torch.float64)
    torch.testing.assert_close(DeformableASPPByBlocks(aspp, 1 << 20)(x), aspp(x))


@torch.inference_mode()
def test_what_is_not_a_number_reads_nothing_outside_the_table() -> None:
    aspp = make(batch_norm=False)
    fast = DeformableASPPByBlocks(aspp, 1 << 20)
    for value in (float("nan"), float("inf"), -float("inf")):
        x = torch.randn(1, 6, 8, 8, dtype=torch.float64)
        x[0, 0, 3, 3] = value
        assert fast(x).shape == (1, 5, 8, 8)
