"""Tiny networks that the tests of several export formats pack."""

from __future__ import annotations

from typing import Any

from birefnet.network import BiRefNet
from birefnet.network.config import BiRefNetConfig
from tests.seeded import fill


def tiny_network(**changes: Any) -> BiRefNet:
    """A small network with seeded weights, and one block of deformable convolutions unless told otherwise."""
    values = {
        "backbone": "mobilenet_v2",
        "inner_width": 8,
        "squeeze": "aspp_deformable",
        "attention": "none",
        "neck_widths": (8, 8, 8, 16),
        "picture_width": 4,
        "attention_width": 8,
        "gradient_width": 4,
    }
    network = BiRefNet(BiRefNetConfig(**{**values, **changes}))
    network.load_state_dict(fill(network.state_dict()))
    return network.eval()
