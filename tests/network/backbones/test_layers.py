"""Stochastic depth: what it drops, what it keeps, and when."""

from __future__ import annotations

import pytest
import torch

from birefnet.network.backbones.layers import DropPath, drop_path_rates


def test_is_the_identity_outside_training() -> None:
    x = torch.randn(3, 4)
    assert DropPath(0.9).eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_drops_whole_pictures_and_scales_the_others() -> None:
    x = torch.ones(64, 2, 3)
    y = DropPath(0.25).train()(x)
    rows = y.flatten(1)
    assert ((rows == 0).all(1) | torch.isclose(rows, torch.tensor(4 / 3)).all(1)).all()
    assert 0 < (rows == 0).all(1).sum() < 64


def test_keeps_the_expectation() -> None:
    y = DropPath(0.2).train()(torch.ones(20_000, 1))
    assert y.mean().item() == pytest.approx(1, abs=0.02)


def test_has_no_weights() -> None:
    assert not DropPath(0.1).state_dict()


def test_rates_grow_linearly() -> None:
    assert drop_path_rates(0.2, 5) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    with torch.device("meta"):
        assert drop_path_rates(0.1, 2) == pytest.approx([0, 0.1])
