"""Four maps and the picture -> logits: from stride 32 to the picture's own size in four stages.

Letters: B batch, H W size of the picture, h w size of a stage's map.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.backbones.base import BackboneSpec, Four, Maps
from birefnet.network.blocks import GradientGate, PictureBlock, cut_into_tiles, resize, size_of
from birefnet.network.config import BiRefNetConfig
from birefnet.network.encoder import joined_widths, make_block

STRIDES: Four = (32, 16, 8, 4)  # of the stages' maps


class Decoded(NamedTuple):
    """What the decoder gives; the tuples are empty outside training."""

    logits: Tensor  # (B, 1, H, W)
    side_logits: tuple[Tensor, ...]  # (B, 1, h, w) at strides 32, 16, 8
    edge_logits: tuple[Tensor, ...]  # the same shapes


class Decoder(nn.Module):
    """Stages at strides 32, 16, 8 and 4, each reading the picture again; then one 1x1 convolution at full size."""

    def __init__(self, config: BiRefNetConfig, spec: BackboneSpec) -> None:
        super().__init__()
        encoder_widths = joined_widths(spec.widths, config)
        map_widths = encoder_widths
        self.necks: nn.ModuleList | None = None
        if config.neck_widths is not None:
            map_widths = joined_widths(config.neck_widths, config)
            self.necks = nn.ModuleList(
                nn.Conv2d(width, out_width, 1) for width, out_width in zip(encoder_widths, map_widths, strict=True)
            )
        x1, x2, x3, x4 = map_widths
        inputs, outputs = (x4, x3, x2, x1), (x3, x2, x1, max(x1 // 2, 1))
        *picture_widths, last_picture_width = _picture_widths(encoder_widths, config)
        self.stages = nn.ModuleList(
            DecoderStage(config, *widths, stride=stride)
            for *widths, stride in zip(inputs, picture_widths, outputs, STRIDES, strict=True)
        )
        self.picture: PictureBlock | None = None
        if config.picture_input != "none":
            self.picture = PictureBlock(3, last_picture_width, inner_width=config.picture_width)
        self.head = nn.Conv2d(outputs[-1] + last_picture_width, 1, 1)

    def forward(self, maps: Maps, picture: Tensor) -> Decoded:
        """Logits at the picture's size, and while training those of the stages too.

        Args:
            maps: x1..x4 of the encoder.
            picture: (B, 3, H, W) normalised, H and W multiples of 32.
        """
        x1, x2, x3, x4 = self._fit(maps, picture)
        side_logits: list[Tensor] = []
        edge_logits: list[Tensor] = []
        x = x4
        for stage, skip in zip(self.stages, (x3, x2, x1, None), strict=True):
            x, side, edge = stage(x, skip, picture)
            side_logits += [] if side is None else [side]
            edge_logits += [] if edge is None else [edge]
        fine = None if self.picture is None else self.picture(picture)
        logits = join_at_full_size(self.head, x, fine, size_of(picture))
        return Decoded(logits, tuple(side_logits), tuple(edge_logits))

    def _fit(self, maps: Maps, picture: Tensor) -> tuple[Tensor, ...]:
        """The maps at strides 4, 8, 16, 32 (a vision transformer's all have 16) and of the decoder's widths."""
        height, width = size_of(picture)
        sizes = [(height // stride, width // stride) for stride in reversed(STRIDES)]
        if self.necks is None:
            return tuple(resize(x, size) for x, size in zip(maps, sizes, strict=True))
        return tuple(_project(neck, x, size) for neck, x, size in zip(self.necks, maps, sizes, strict=True))


class DecoderStage(nn.Module):
    """One step of the decoder: read the picture, decode, weigh by predicted gradients, go to the next finer map.

    Args:
        config: the network's shape.
        width: channels of the incoming map.
        picture_width: channels that the picture adds to it.
        out_width: channels of the outgoing map.
        stride: picture pixels per position of the incoming map; 4 is the last stage.
    """

    def __init__(self, config: BiRefNetConfig, width: int, picture_width: int, out_width: int, *, stride: int) -> None:
        super().__init__()
        last = stride == STRIDES[-1]
        self.stride = stride
        self.cuts_tiles = config.picture_input == "tiles"
        self.picture: PictureBlock | None = None
        if config.picture_input != "none":
            channels = 3 * stride**2 if self.cuts_tiles else 3
            self.picture = PictureBlock(channels, picture_width, inner_width=config.picture_width)
        self.block = make_block(config, width + picture_width, out_width, residual=config.block == "residual")
        self.side_head = nn.Conv2d(out_width, 1, 1) if config.side_supervision and not last else None
        self.gradient: GradientGate | None = None
        if config.gradient_reference and not last:
            self.gradient = GradientGate(out_width, inner_width=config.gradient_width, batch_norm=config.batch_norm)
        self.lateral = None if last else nn.Conv2d(out_width, out_width, 1)

    def forward(self, x: Tensor, skip: Tensor | None, picture: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """One map -> the next finer one, and while training the side and edge logits of this one.

        Args:
            x: (B, width, h, w).
            skip: the encoder's next finer map (B, out_width, 2h, 2w), or None in the last stage.
            picture: (B, 3, H, W), the whole one.
        """
        if self.picture is not None:
            x = torch.cat([x, self.picture(self._picture_for(x, picture))], dim=1)
        x = self.block(x)
        side = self.side_head(x) if self.training and self.side_head is not None else None
        edge = None
        if self.gradient is not None:
            x, features = self.gradient(x)
            edge = self.gradient.head(features) if self.training else None
        if self.lateral is not None and skip is not None:
            x = resize(x, size_of(skip)) + self.lateral(skip)
        return x, side, edge

    def _picture_for(self, x: Tensor, picture: Tensor) -> Tensor:
        if self.cuts_tiles:
            picture = cut_into_tiles(picture, self.stride)
        return resize(picture, size_of(x))


def join_at_full_size(head: nn.Conv2d, coarse: Tensor, fine: Tensor | None, size: tuple[int, int]) -> Tensor:
    """`head`, a 1x1 convolution, of `coarse` resized to `size` with `fine` behind it on the channels.

    A 1x1 convolution commutes with bilinear resizing, so that only its one output channel is resized: the same
    function with a small part of the work and memory.

    Args:
        head: takes C + D channels.
        coarse: (B, C, h, w).
        fine: (B, D, *size), or None where D is 0.
        size: height and width of the result (B, out, *size).
    """
    width = coarse.shape[1]
    logits = resize(F.conv2d(coarse, head.weight[:, :width], head.bias), size)
    return logits if fine is None else logits + F.conv2d(fine, head.weight[:, width:])


def _project(neck: nn.Module, x: Tensor, size: tuple[int, int]) -> Tensor:
    """1x1 convolution and resizing commute; the convolution runs where the map is smaller."""
    if size[0] > x.shape[-2]:
        return resize(neck(x), size)
    y: Tensor = neck(resize(x, size))
    return y


def _picture_widths(widths: Four, config: BiRefNetConfig) -> tuple[int, ...]:
    """Channels that the picture adds at strides 32, 16, 8, 4 and 1: an eighth of a map's."""
    x1, x2, x3, x4 = widths
    if config.picture_input == "none":
        return (0,) * 5
    return tuple(max(width // 8, 1) for width in (x4, x4, x3, x2, x1))
