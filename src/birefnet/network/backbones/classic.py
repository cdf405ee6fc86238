"""The two classic convolutional backbones, VGG16 (with or without batch norm) and ResNet50.

Sources: K. Simonyan and A. Zisserman, "Very deep convolutional networks", ICLR 2015; K. He et al., "Deep residual
learning", CVPR 2016, with the stride in the 3x3 convolution (version 1.5), as in the published weights.

Letters: B batch, C channels, H W size of the map.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from birefnet.network.backbones.base import Backbone, Groups, Maps
from birefnet.network.recompute import Recomputable


class FourGroups(Backbone):
    """A backbone whose four groups of layers, applied one after the other, give its four maps.

    `conv1` holds everything up to stride 4; `conv2`, `conv3` and `conv4` each halve the size once more.
    """

    conv1: nn.Module
    conv2: nn.Module
    conv3: nn.Module
    conv4: nn.Module

    def forward(self, picture: Tensor) -> Maps:
        """Picture (B, 3, H, W) -> x1..x4 at strides 4, 8, 16, 32."""
        x1 = self.conv1(picture)
        x2 = self.conv2(x1)
        x3 = self.conv3(x2)
        x4 = self.conv4(x3)
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        return ("conv1",), ("conv2",), ("conv3",), ("conv4",)


class Layers(Recomputable, nn.Sequential):
    """Layers in a row, of which those up to a pooling can be computed again together."""

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = nn.Module.__call__(self, x)  # not all of them at once
        return y

    def forward(self, x: Tensor) -> Tensor:
        row: list[nn.Module] = []
        for layer in self:
            row.append(layer)
            if isinstance(layer, nn.MaxPool2d):
                x = self.recomputed(partial(_in_turn, row), x)
                row = []
        return _in_turn(row, x)


class VGG16(FourGroups):
    """The feature layers of VGG16, cut behind the second, third, fourth and fifth max-pool.

    Args:
        batch_norm: whether each convolution is followed by batch norm.
    """

    # Widths of the 3x3 convolutions between one max-pool and the next.
    WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self, *, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        ends = []
        channels = 3
        for widths in self.WIDTHS:
            for width in widths:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
            ends.append(len(layers))
        features = Layers(*layers)
        # A slice keeps the layers' numbers in the whole, and so the published names: `conv2.10.weight`.
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            features[start:end] for start, end in pairwise([0, *ends[1:]])
        )
        self.apply(_initialise)


class Bottleneck(Recomputable):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; (B, C, H, W) -> (B, 4 * width, H / stride, W / stride)."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return functional.relu(x + shortcut)


class ResNet50(FourGroups):
    """The stem and the four stages of ResNet50; the stem and the first stage are one group."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Layers(
            nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
            _stage(64, 64, blocks=3, stride=1),
        )
        self.conv2 = _stage(256, 128, blocks=4, stride=2)
        self.conv3 = _stage(512, 256, blocks=6, stride=2)
        self.conv4 = _stage(1024, 512, blocks=3, stride=2)
        self.apply(_initialise)


def _in_turn(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _stage(channels: int, width: int, *, blocks: int, stride: int) -> nn.Sequential:
    """`blocks` bottlenecks, the first with the stride and the change of width."""
    rest = (Bottleneck(4 * width, width) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(channels, width, stride), *rest)


def _initialise(module: nn.Module) -> None:
    """Fresh weights after He et al. 2015; norms keep their ones and zeros."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
