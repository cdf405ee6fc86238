"""MobileNetV2 1.0 (Sandler et al., CVPR 2018), without its last 1x1 convolution and classifier.

Strided convolutions pad as TensorFlow's SAME does, because the weights that training starts from were made there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.inputs import IMAGENET_MEAN, IMAGENET_STD
from birefnet.network.backbones.base import Backbone, Groups, Maps
from birefnet.network.recompute import Recomputable

# One row per group of blocks: expansion, width, repeats, stride of the first.
_GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_WIDTH = 32
_TAPS = (2, 5, 12, 16)  # the blocks whose outputs are x1..x4

# Backbones get pictures as (p - mean) / deviation with p in [0, 1]; this one's weights want (255 p - 128) / 128.


class MobileNetV2(Backbone):
    """Four maps of 24, 32, 96 and 320 channels at strides 4, 8, 16 and 32; 1.8 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvNorm(3, _STEM_WIDTH, kernel=3, stride=2)
        self.blocks = nn.ModuleList(_blocks())
        _initialise(self)

    def forward(self, picture: Tensor) -> Maps:
        x = F.relu6(self.stem(_centred(picture)))
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAPS:
                maps.append(x)
        x1, x2, x3, x4 = maps
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        """One group per map: the blocks that lead to it."""
        first = ("stem", *(f"blocks.{index}" for index in range(_TAPS[0] + 1)))
        rest = (tuple(f"blocks.{index}" for index in range(a + 1, b + 1)) for a, b in pairwise(_TAPS))
        return first, *rest


class InvertedResidual(Recomputable):
    """Widen (1x1), look around (3x3 per channel), narrow (1x1); added to its input where the shapes agree."""

    def __init__(self, width: int, out_width: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = width * expansion
        self.expand = _ConvNorm(width, hidden, kernel=1) if expansion > 1 else None
        self.depthwise = _ConvNorm(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = _ConvNorm(hidden, out_width, kernel=1)
        self.residual = stride == 1 and width == out_width

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class _ConvNorm(nn.Module):
    """A convolution without bias and its batch norm; SAME padding: the odd row or column goes bottom and right."""

    def __init__(self, width: int, out_width: int, *, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(width, out_width, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_width)
        self.strided = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        if self.strided:  # kernel 3: an even length needs one more in all, an odd one two
            height, width = x.shape[-2:]
            x = F.pad(x, (width % 2, 1, height % 2, 1))
        y: Tensor = self.norm(self.conv(x))
        return y


def _blocks() -> Iterator[InvertedResidual]:
    width = _STEM_WIDTH
    for expansion, out_width, repeats, first_stride in _GROUPS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            yield InvertedResidual(width, out_width, expansion=expansion, stride=stride)
            width = out_width


def _centred(picture: Tensor) -> Tensor:
    """(B, 3, H, W) normalised -> the same picture as (x - 128) / 128, x in 0..255.

    Done here and not folded into the stem, so that the stem's zero padding means mid-grey, as in its training.
    """
    channels = [
        picture[:, i : i + 1] * (deviation * 255 / 128) + (mean * 255 / 128 - 1)
        for i, (mean, deviation) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
    ]
    return torch.cat(channels, dim=1)


def _initialise(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")
