"""Picture -> four maps: the backbone at one or two scales, the context gathered, the last map squeezed.

Letters: B batch, H W size of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from birefnet.network.aspp import ASPP
from birefnet.network.backbones.base import BackboneSpec, Four, Maps
from birefnet.network.blocks import DecoderBlock, resize, size_of
from birefnet.network.config import BiRefNetConfig


class Encoder(nn.Module):
    """Gives x1..x4 of the backbone's strides, x4 enriched with the finer maps.

    Args:
        config: the network's shape.
        spec: the row of the backbone's table.

    Attributes:
        widths: channels of the four maps that `forward` gives.
    """

    def __init__(self, config: BiRefNetConfig, spec: BackboneSpec) -> None:
        super().__init__()
        self.two_scale = config.two_scale
        self.context = config.context
        self.widths: Four = joined_widths(spec.widths, config)
        self.backbone = spec.build()
        gathered = self.widths[3] + sum(self.widths[3 - config.context : 3])
        self.squeeze = _make_squeeze(config, gathered, self.widths[3])

    def forward(self, picture: Tensor) -> Maps:
        """(B, 3, H, W) -> x1..x4, x_i (B, widths[i], H / strides[i], W / strides[i])."""
        x1, x2, x3, x4 = self.look(picture)
        gathered = [resize(x, size_of(x4)) for x in (x1, x2, x3)[3 - self.context :]]
        if self.squeeze is not None:
            x4 = self.squeeze(torch.cat([*gathered, x4], dim=1))
        return x1, x2, x3, x4

    def look(self, picture: Tensor) -> Maps:
        """The backbone's maps of the picture, joined with those of the half-size picture."""
        full: Maps = self.backbone(picture)
        if self.two_scale == "none":
            return full
        height, width = size_of(picture)
        half: Maps = self.backbone(resize(picture, (height // 2, width // 2)))
        x1, x2, x3, x4 = (self._join(x, y) for x, y in zip(full, half, strict=True))
        return x1, x2, x3, x4

    def _join(self, full: Tensor, half: Tensor) -> Tensor:
        half = resize(half, size_of(full))
        return full + half if self.two_scale == "add" else torch.cat([full, half], dim=1)


def joined_widths(widths: Four, config: BiRefNetConfig) -> Four:
    """Widths after the two scales were joined: doubled when they are concatenated."""
    x1, x2, x3, x4 = widths
    return (2 * x1, 2 * x2, 2 * x3, 2 * x4) if config.two_scale == "cat" else widths


def make_attention(config: BiRefNetConfig, width: int) -> nn.Module | None:
    """The attention in the middle of a block, (B, width, H, W) -> the same shape; None if there is none."""
    if config.attention == "none":
        return None
    return ASPP(
        width,
        branch_width=config.attention_width,
        deformable=config.attention == "aspp_deformable",
        batch_norm=config.batch_norm,
    )


def make_block(config: BiRefNetConfig, width: int, out_width: int, *, residual: bool) -> DecoderBlock:
    """A decoder block of the network's kind."""
    inner_width = width // 4 if config.inner_width == "adaptive" else config.inner_width
    return DecoderBlock(
        width,
        out_width,
        inner_width=inner_width,
        attention=make_attention(config, inner_width),
        residual=residual,
        batch_norm=config.batch_norm,
    )


def _make_squeeze(config: BiRefNetConfig, width: int, out_width: int) -> nn.Module | None:
    match config.squeeze:
        case "none":
            return None
        case "basic" | "residual":
            return make_block(config, width, out_width, residual=config.squeeze == "residual")
        case _:
            return ASPP(
                width,
                out_width,
                branch_width=config.attention_width,
                deformable=config.squeeze == "aspp_deformable",
                batch_norm=config.batch_norm,
            )
