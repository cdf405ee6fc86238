"""The small parts that decoder and encoder share.

Letters: B batch, C channels, H W size of a map.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.recompute import Recomputable


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) -> (B, C, *size), bilinear with aligned corners, as everywhere in the network."""
    if (x.shape[-2], x.shape[-1]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width of a map (B, C, H, W)."""
    return x.shape[-2], x.shape[-1]


def make_norm(width: int, batch_norm: bool) -> nn.Module:
    """Batch norm, or nothing at all in networks made without it."""
    return nn.BatchNorm2d(width) if batch_norm else nn.Identity()


def cut_into_tiles(picture: Tensor, stride: int) -> Tensor:
    """(B, C, H, W) -> (B, C * stride**2, H / stride, W / stride): contiguous tiles, stacked on the channels.

    Tile (row, column) of the grid is the picture's region there, not a sub-sampling of it; the channels run in the
    order (C, row, column).
    """
    batch, channels, height, width = picture.shape
    tile_height, tile_width = height // stride, width // stride
    grid = picture.reshape(batch, channels, stride, tile_height, stride, tile_width)
    return grid.permute(0, 1, 2, 4, 3, 5).reshape(batch, channels * stride**2, tile_height, tile_width)


class DecoderBlock(nn.Module):
    """Convolution in, attention in the middle, convolution out; (B, C, H, W) -> (B, out_width, H, W).

    Args:
        width: channels of the input.
        out_width: channels of the output.
        inner_width: channels between the two convolutions.
        attention: a module that keeps (B, inner_width, H, W), or None.
        residual: add a 1x1 convolution of the input to the output.
        batch_norm: whether to normalise after each of the two convolutions.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        *,
        inner_width: int,
        attention: nn.Module | None,
        residual: bool = False,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(width, inner_width, 3, padding=1)
        self.norm_in = make_norm(inner_width, batch_norm)
        self.attention = attention if attention is not None else nn.Identity()
        self.conv_out = nn.Conv2d(inner_width, out_width, 3, padding=1)
        self.norm_out = make_norm(out_width, batch_norm)
        self.shortcut = nn.Conv2d(width, out_width, 1) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu(self.norm_in(self.conv_in(x)))
        y = self.attention(y)
        y = self.norm_out(self.conv_out(y))  # no ReLU: the next part may need the sign
        return y if self.shortcut is None else y + self.shortcut(x)


class PictureBlock(Recomputable):
    """Two convolutions that read the picture, with no activation between them; (B, C, H, W) -> (B, out_width, H, W)."""

    def __init__(self, width: int, out_width: int, *, inner_width: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(width, inner_width, 3, padding=1)
        self.conv_out = nn.Conv2d(inner_width, out_width, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        y: Tensor = self.conv_out(self.conv_in(picture))
        return y


class GradientGate(nn.Module):
    """The "outward reference": features that must predict the picture's gradients weigh the map.

    `forward` takes a map (B, C, H, W) and gives the weighed map and the features (B, inner_width, H, W), from which
    `head` predicts the gradients (B, 1, H, W) while training.
    """

    def __init__(self, width: int, *, inner_width: int, batch_norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, inner_width, 3, padding=1)
        self.norm = make_norm(inner_width, batch_norm)
        self.attention = nn.Conv2d(inner_width, 1, 1)
        self.head = nn.Conv2d(inner_width, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.norm(self.conv(x)))
        return x * self.attention(features).sigmoid(), features
