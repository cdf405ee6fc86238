"""What a backbone is, and the table of all of them.

A new variant is a row of `BACKBONES`. Building is lazy, so that reading the table imports no architecture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from birefnet.errors import ConfigError, did_you_mean

Four = tuple[int, int, int, int]
Maps = tuple[Tensor, Tensor, Tensor, Tensor]
Groups = tuple[tuple[str, ...], ...]


class Backbone(nn.Module):
    """A network that turns a picture into four maps.

    `forward` takes a picture (B, 3, H, W), RGB normalised with ImageNet's mean and deviation, H and W multiples
    of 32, and gives the maps x1..x4, each (B, widths[i], H / strides[i], W / strides[i]).
    """

    def forward(self, picture: Tensor) -> Maps:
        raise NotImplementedError

    def groups(self) -> Groups:
        """Its parts in the order in which a picture meets them; a run may freeze the first N groups.

        Each group holds dotted names of modules or parameters; together they hold every parameter once. The stem
        belongs to the first group, and a map's own norm to the group that gives the map.
        """
        raise NotImplementedError


class Sign(NamedTuple):
    """What tells a backbone's weights from all others': one entry's shape, and how many parts one of its lists has."""

    entry: str
    shape: tuple[int, ...]
    parts: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """One row of the table: what a backbone publishes, and how it is made.

    Attributes:
        widths: channels of x1..x4.
        strides: input pixels per position of x1..x4.
        build: makes the backbone with fresh weights.
        sign: by which its weights are known; None for one that must be named.
        frozen_by_default: whether training leaves its weights alone unless told otherwise.
    """

    widths: Four
    build: Callable[[], Backbone]
    sign: Sign | None = None
    strides: Four = (4, 8, 16, 32)
    frozen_by_default: bool = False


def _swin(width: int, depths: Four, heads: Four, window: int) -> BackboneSpec:
    def build() -> Backbone:
        from birefnet.network.backbones.swin import Swin

        return Swin(width=width, depths=depths, heads=heads, window=window)

    sign = Sign("patch_embed.proj.weight", (width, 3, 4, 4), "layers.2.blocks", depths[2])
    return BackboneSpec(widths=(width, 2 * width, 4 * width, 8 * width), build=build, sign=sign)


def _pvt_v2(widths: Four, depths: Four, mlp_ratios: Four = (8, 8, 4, 4)) -> BackboneSpec:
    def build() -> Backbone:
        from birefnet.network.backbones.pvt_v2 import PVTv2

        return PVTv2(widths=widths, depths=depths, mlp_ratios=mlp_ratios)

    sign = Sign("patch_embed1.proj.weight", (widths[0], 3, 7, 7), "block3", depths[2])
    return BackboneSpec(widths=widths, build=build, sign=sign)


def _vgg16(batch_norm: bool) -> BackboneSpec:
    def build() -> Backbone:
        from birefnet.network.backbones.classic import VGG16

        return VGG16(batch_norm=batch_norm)

    sign = Sign("conv1.0.weight", (64, 3, 3, 3), "conv4", 6 if batch_norm else 3)  # convolutions, and norms
    return BackboneSpec(widths=(128, 256, 512, 512), build=build, sign=sign)


def _resnet50() -> BackboneSpec:
    def build() -> Backbone:
        from birefnet.network.backbones.classic import ResNet50

        return ResNet50()

    sign = Sign("conv1.0.weight", (64, 3, 7, 7), "conv3", 6)
    return BackboneSpec(widths=(256, 512, 1024, 2048), build=build, sign=sign)


def _dino_v3(width: int, depth: int, heads: int, hidden: int, taps: Four, gated: bool = False) -> BackboneSpec:
    def build() -> Backbone:
        from birefnet.network.backbones.dinov3 import DINOv3

        return DINOv3(width=width, depth=depth, heads=heads, hidden=hidden, taps=taps, gated=gated)

    sign = Sign(f"blocks.0.mlp.{'fc1_g' if gated else 'fc1'}.weight", (hidden, width), "blocks", depth)
    return BackboneSpec(widths=(width,) * 4, strides=(16, 16, 16, 16), build=build, sign=sign, frozen_by_default=True)


def _mobilenet_v2() -> BackboneSpec:
    def build() -> Backbone:
        from birefnet.network.backbones.mobilenet_v2 import MobileNetV2

        return MobileNetV2()

    sign = Sign("stem.conv.weight", (32, 3, 3, 3), "blocks", 17)
    return BackboneSpec(widths=(24, 32, 96, 320), build=build, sign=sign)


BACKBONES: dict[str, BackboneSpec] = {
    "swin_v1_t": _swin(96, (2, 2, 6, 2), (3, 6, 12, 24), window=7),
    "swin_v1_s": _swin(96, (2, 2, 18, 2), (3, 6, 12, 24), window=7),
    "swin_v1_b": _swin(128, (2, 2, 18, 2), (4, 8, 16, 32), window=12),
    "swin_v1_l": _swin(192, (2, 2, 18, 2), (6, 12, 24, 48), window=12),
    "pvt_v2_b0": _pvt_v2((32, 64, 160, 256), (2, 2, 2, 2)),
    "pvt_v2_b1": _pvt_v2((64, 128, 320, 512), (2, 2, 2, 2)),
    "pvt_v2_b2": _pvt_v2((64, 128, 320, 512), (3, 4, 6, 3)),
    "pvt_v2_b5": _pvt_v2((64, 128, 320, 512), (3, 6, 40, 3), mlp_ratios=(4, 4, 4, 4)),
    "vgg16": _vgg16(batch_norm=False),
    "vgg16bn": _vgg16(batch_norm=True),
    "resnet50": _resnet50(),
    "dino_v3_s": _dino_v3(384, depth=12, heads=6, hidden=1536, taps=(3, 5, 7, 11)),
    "dino_v3_s_plus": _dino_v3(384, depth=12, heads=6, hidden=1536, taps=(3, 5, 7, 11), gated=True),
    "dino_v3_b": _dino_v3(768, depth=12, heads=12, hidden=3072, taps=(3, 5, 7, 11)),
    "dino_v3_l": _dino_v3(1024, depth=24, heads=16, hidden=4096, taps=(5, 11, 17, 23)),
    "dino_v3_h_plus": _dino_v3(1280, depth=32, heads=20, hidden=5120, taps=(7, 15, 23, 31), gated=True),
    "dino_v3_7b": _dino_v3(4096, depth=40, heads=32, hidden=8192, taps=(9, 19, 29, 39), gated=True),
    "mobilenet_v2": _mobilenet_v2(),
}


def find_backbone(name: str) -> BackboneSpec:
    """The row called `name`.

    Raises:
        ConfigError: if there is none; the message lists the names, the hint is the nearest one.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    raise ConfigError(f"No backbone named `{name}`; known: {', '.join(BACKBONES)}", hint=did_you_mean(name, BACKBONES))
