"""Pyramid vision transformer v2: attention whose keys and values come from a smaller map.

Source: W. Wang et al., "PVT v2: Improved baselines with pyramid vision transformer", CVMJ 2022
(arXiv 2106.13797), the variants without linear attention.

Letters: B batch, H W size of the map, C channels, N positions (H * W), M positions after the reduction.
Maps are channels-last (B, H, W, C) inside a stage, so that linear layers and norms need no reshaping.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from birefnet.errors import InputError
from birefnet.network.backbones.base import Backbone, Four, Groups, Maps
from birefnet.network.backbones.layers import DropPath, drop_path_rates
from birefnet.network.recompute import Recomputable

HEADS: Four = (1, 2, 5, 8)
REDUCTIONS: Four = (8, 4, 2, 1)  # how much smaller the map of keys and values is, per axis
LAST_DROP_PATH = 0.1
SMALLEST = 32  # pixels: below this the first reduction has less than one position left


class PatchEmbed(nn.Module):
    """Overlapping patches: a strided convolution, then a norm; (B, C, H, W) -> (B, H / stride, W / stride, width)."""

    def __init__(self, channels: int, width: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        y: Tensor = self.norm(x)
        return y


class Attention(nn.Module):
    """Multi-head attention from every position to a map that is `reduction` times smaller per axis."""

    def __init__(self, width: int, *, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        batch, _, _, width = x.shape
        split = (batch, -1, self.heads, width // self.heads)
        keys, values = self.kv(self.reduce(x)).flatten(1, 2).chunk(2, dim=-1)  # (B, M, C) each
        query, keys, values = (
            part.reshape(split).transpose(1, 2)  # (B, heads, N or M, C / heads)
            for part in (self.q(x), keys, values)
        )
        mixed = functional.scaled_dot_product_attention(query, keys, values)
        y: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return y

    def reduce(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H // reduction, W // reduction, C)."""
        if self.reduction == 1:
            return x
        smaller = self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y: Tensor = self.norm(smaller)
        return y


class DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel by itself, (B, H, W, C) -> the same; it tells positions apart."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y


class Mlp(nn.Module):
    """Two linear layers with a depthwise convolution and GELU between; (B, H, W, C) -> the same."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.dwconv(self.fc1(x))))
        return y


class Block(Recomputable):
    """Attention and MLP, each normalised before and added to its input; (B, H, W, C) -> the same."""

    def __init__(self, width: int, *, heads: int, reduction: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads=heads, reduction=reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class PVTv2(Backbone):
    """Four stages at strides 4, 8, 16, 32; each output map is the stage's, normalised.

    Args:
        widths: channels of the four stages, divisible by 1, 2, 5 and 8 (the heads).
        depths: blocks of the four stages.
        mlp_ratios: hidden channels of the MLP per channel.
    """

    def __init__(self, *, widths: Four, depths: Four, mlp_ratios: Four) -> None:
        super().__init__()
        rates = iter(drop_path_rates(LAST_DROP_PATH, sum(depths)))
        channels = 3
        # The numbered names are those of the published weights.
        for stage, (width, depth, ratio, heads, reduction) in enumerate(
            zip(widths, depths, mlp_ratios, HEADS, REDUCTIONS, strict=True), start=1
        ):
            kernel, stride = (7, 4) if stage == 1 else (3, 2)
            blocks = [
                Block(width, heads=heads, reduction=reduction, hidden=ratio * width, drop_path=next(rates))
                for _ in range(depth)
            ]
            self.add_module(f"patch_embed{stage}", PatchEmbed(channels, width, kernel=kernel, stride=stride))
            self.add_module(f"block{stage}", nn.Sequential(*blocks))
            self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=1e-6))
            channels = width
        self.apply(_initialise)

    def forward(self, picture: Tensor) -> Maps:
        """Picture (B, 3, H, W) -> x1..x4 at strides 4, 8, 16, 32.

        Raises:
            InputError: if a side is shorter than 32 pixels.
        """
        height, width = picture.shape[-2:]
        if height < SMALLEST or width < SMALLEST:
            raise InputError(
                f"PVTv2 needs pictures of at least {SMALLEST}x{SMALLEST}, got {height}x{width}; "
                "with two-scale input the half-size picture counts, so the whole one must be twice as large"
            )
        x, maps = picture, []
        for stage in range(1, 5):
            embed, blocks, norm = (getattr(self, f"{part}{stage}") for part in ("patch_embed", "block", "norm"))
            x = norm(blocks(embed(x))).permute(0, 3, 1, 2)  # (B, C, H / stride, W / stride)
            maps.append(x)
        x1, x2, x3, x4 = maps
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        return tuple((f"patch_embed{stage}", f"block{stage}", f"norm{stage}") for stage in range(1, 5))


def _initialise(module: nn.Module) -> None:
    """Fresh weights as the paper's authors draw them; norms keep their ones and zeros."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
