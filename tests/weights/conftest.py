"""A tiny real network for the tests of loading and saving."""

from __future__ import annotations

import pytest
import torch

from birefnet.network.birefnet import BiRefNet
from birefnet.network.config import BiRefNetConfig

TINY = BiRefNetConfig(
    backbone="mobilenet_v2",
    two_scale="none",
    attention="aspp",
    inner_width=8,
    picture_width=8,
    attention_width=8,
)


@pytest.fixture(scope="session")
def tiny() -> BiRefNet:
    """Random weights; not to be changed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BiRefNet(TINY).eval()
