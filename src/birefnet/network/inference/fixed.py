"""The inference form for pictures of one size: what depends on the size alone is computed beforehand."""

from __future__ import annotations

from birefnet.network.backbones.swin import Swin
from birefnet.network.birefnet import BiRefNet
from birefnet.network.inference.fixed_swin import FixedSwin
from birefnet.network.inference.form import inference_form

PART_BYTES = 32 << 20  # of the widest map between two operations


def fixed_form(network: BiRefNet, height: int, width: int, *, part_bytes: int = PART_BYTES) -> BiRefNet:
    """A network that gives the same logits for one picture of one size; for exporters.

    Args:
        network: left as it is.
        height, width: of the picture, multiples of 32.
        part_bytes: about how large the widest map inside the backbone may be.
    """
    form = inference_form(network)
    encoder = form.encoder
    if isinstance(encoder.backbone, Swin):
        sizes = [(height, width)] if encoder.two_scale == "none" else [(height, width), (height // 2, width // 2)]
        encoder.backbone = FixedSwin(encoder.backbone, sizes, part_bytes)
    return form
