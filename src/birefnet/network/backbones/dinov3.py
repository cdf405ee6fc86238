"""DINOv3's vision transformers: one stride, one width, positions by rotation.

Source: O. Siméoni et al., "DINOv3", 2025 (arXiv 2508.10104); the names of the weights are those of timm's
`vit_*_patch16_dinov3`.

Letters: B batch, C channels, H W size of the picture, h w size of the grid of patches, T tokens
(class token, register tokens, then h * w patches row by row), D channels of one head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from birefnet.errors import InputError
from birefnet.network.backbones.base import Backbone, Four, Groups, Maps
from birefnet.network.recompute import Recomputable

PATCH = 16  # pixels per side
REGISTERS = 4
PREFIX = 1 + REGISTERS  # tokens in front of the patches: they have no place in the picture
TEMPERATURE = 100.0  # the longest period of the rotation, in halves of the picture's side
EPSILON = 1e-5


class Rotation:
    """How far each token's queries and keys are turned: cosines and sines (T, D), built once per forward pass."""

    def __init__(self, cosine: Tensor, sine: Tensor) -> None:
        self.cosine = cosine
        self.sine = sine

    @classmethod
    def of_grid(cls, height: int, width: int, channels: int, *, device: torch.device, dtype: torch.dtype) -> Rotation:
        """The rotation for a grid of `height` by `width` patches and heads of `channels` (a multiple of 4).

        Worked out in float32 and only then cast: in half precision neighbouring patches would coincide.
        """
        quarter = channels // 4
        periods = TEMPERATURE ** (torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
        rows, columns = (_centres(count, device)[:, None] * (2 * math.pi / periods) for count in (height, width))
        angles = torch.cat(
            (
                rows[:, None].expand(height, width, quarter),
                columns[None].expand(height, width, quarter),
            ),
            dim=-1,
        ).flatten(0, 1)  # (h * w, D / 2)
        angles = functional.pad(angles, (0, 0, PREFIX, 0)).tile(2)  # (T, D); an angle of 0 turns nothing
        return cls(angles.cos().to(dtype), angles.sin().to(dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """Turn x (B, heads, T, D): channel i of the first half is paired with channel i of the second."""
        first, second = x.chunk(2, dim=-1)
        return x * self.cosine + torch.cat((-second, first), dim=-1) * self.sine


class Attention(nn.Module):
    """Multi-head attention of all tokens to all tokens; (B, T, C) -> the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, T, D) each
        mixed = functional.scaled_dot_product_attention(rotation(query), rotation(key), value)
        y: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return y


class Mlp(nn.Module):
    """Two linear layers with GELU between; (B, T, C) -> the same."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class GatedMlp(nn.Module):
    """SwiGLU: one linear layer passes through SiLU and gates the other; (B, T, C) -> the same."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, hidden)
        self.fc1_x = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.silu(self.fc1_g(x)) * self.fc1_x(x))
        return y


class Block(Recomputable):
    """Attention and MLP, each normalised before, scaled per channel and added to its input; (B, T, C) -> the same."""

    def __init__(self, width: int, heads: int, hidden: int, *, gated: bool) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((width,), 1e-5))
        self.gamma_2 = nn.Parameter(torch.full((width,), 1e-5))
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = (GatedMlp if gated else Mlp)(width, hidden)

    def forward(self, x: Tensor, rotation: Rotation) -> Tensor:
        x = x + self.gamma_1 * self.attn(self.norm1(x), rotation)
        x = x + self.gamma_2 * self.mlp(self.norm2(x))
        return x


class PatchEmbed(nn.Module):
    """Each patch through one linear map; (B, 3, H, W) -> (B, C, H / 16, W / 16)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, picture: Tensor) -> Tensor:
        y: Tensor = self.proj(picture)
        return y


class DINOv3(Backbone):
    """A transformer over 16x16 patches; the four maps are the outputs of four of its blocks, un-normed.

    Args:
        width: channels of a token.
        depth: number of blocks.
        heads: heads of each attention; `width / heads` must be a multiple of 4.
        hidden: hidden channels of the MLP.
        taps: the blocks, counted from 0, whose outputs are x1..x4.
        gated: SwiGLU in place of the plain MLP.
    """

    def __init__(self, *, width: int, depth: int, heads: int, hidden: int, taps: Four, gated: bool = False) -> None:
        super().__init__()
        assert width % (4 * heads) == 0 and max(taps) == depth - 1
        self.taps = taps
        self.head_width = width // heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.reg_token = nn.Parameter(torch.zeros(1, REGISTERS, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, gated=gated) for _ in range(depth))
        self._initialise()

    def forward(self, picture: Tensor) -> Maps:
        """Picture (B, 3, H, W) -> x1..x4, each (B, C, H / 16, W / 16).

        Raises:
            InputError: if H or W is not a multiple of 16.
        """
        if picture.shape[-2] % PATCH or picture.shape[-1] % PATCH:
            sides = "x".join(str(side) for side in picture.shape[-2:])
            raise InputError(f"DINOv3 needs a height and width in multiples of {PATCH}, got {sides}")
        grid = self.patch_embed(picture)  # (B, C, h, w)
        x = self.tokens(grid)
        height, width = grid.shape[-2:]
        rotation = Rotation.of_grid(height, width, self.head_width, device=grid.device, dtype=grid.dtype)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x, rotation)
            if index in self.taps:
                maps.append(x[:, PREFIX:].transpose(1, 2).reshape(grid.shape))
        x1, x2, x3, x4 = maps
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        """One group per block; what makes the tokens belongs to the first."""
        stem = ("cls_token", "reg_token", "patch_embed")
        return tuple((*(stem if index == 0 else ()), f"blocks.{index}") for index in range(len(self.blocks)))

    def tokens(self, grid: Tensor) -> Tensor:
        """Patches (B, C, h, w) -> tokens (B, T, C), the class and register tokens first."""
        batch = grid.shape[0]
        prefix = (self.cls_token.expand(batch, -1, -1), self.reg_token.expand(batch, -1, -1))
        return torch.cat((*prefix, grid.flatten(2).transpose(1, 2)), dim=1)

    def _initialise(self) -> None:
        """Fresh weights: small normal ones, no biases."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)


def _centres(count: int, device: torch.device) -> Tensor:
    """Centres of `count` patches along a side that runs from -1 to 1, float32 (count,)."""
    return (2 * torch.arange(count, device=device, dtype=torch.float32) + 1) / count - 1
