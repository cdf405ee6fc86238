"""Swin Transformer (Liu et al., ICCV 2021): attention in windows that shift by half in every second block.

Letters: B batch, H W size of a map in tokens, C channels, w side of a window, N = w * w, heads h.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.backbones.base import Backbone, Four, Groups, Maps
from birefnet.network.backbones.layers import DropPath, drop_path_rates
from birefnet.network.recompute import Recomputable


class Swin(Backbone):
    """Four stages of window attention; each gives a map, normalised, and passes it on as it was.

    Args:
        width: channels of the first stage; each further one doubles them.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: side of the windows in tokens.
        drop_path: stochastic depth of the last block; it grows linearly from 0.
    """

    def __init__(self, *, width: int, depths: Four, heads: Four, window: int, drop_path: float = 0.2) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbedding(width)
        rates = drop_path_rates(drop_path, sum(depths))
        self.layers = nn.ModuleList()  # of `SwinStage`
        for stage, (depth, stage_heads) in enumerate(zip(depths, heads, strict=True)):
            stage_rates, rates = rates[:depth], rates[depth:]
            self.layers.append(SwinStage(width << stage, stage_heads, window, stage_rates, last=stage == 3))
            self.add_module(f"norm{stage}", nn.LayerNorm(width << stage))
        _initialise(self)

    def forward(self, picture: Tensor) -> Maps:
        x = self.patch_embed(picture)  # (B, H, W, C)
        maps = []
        for index, stage in enumerate(self.layers):
            x, following = stage(x)
            maps.append(self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2))
            x = following
        x1, x2, x3, x4 = maps
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        return tuple((*(("patch_embed",) if i == 0 else ()), f"layers.{i}", f"norm{i}") for i in range(4))


class _PatchEmbedding(nn.Module):
    """(B, 3, 4H, 4W) -> (B, H, W, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, picture: Tensor) -> Tensor:
        y: Tensor = self.norm(self.proj(picture).permute(0, 2, 3, 1))
        return y


class SwinStage(nn.Module):
    """Blocks on one map, then the next stage's input; (B, H, W, C) -> the map, and (B, H/2, W/2, 2C)."""

    def __init__(self, width: int, heads: int, window: int, rates: list[float], *, last: bool) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, window, shift=window // 2 if index % 2 else 0, drop_path=rate)
            for index, rate in enumerate(rates)
        )
        self.downsample = None if last else PatchMerging(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        blocked = _blocked_pairs(x, self.window, self.window // 2)
        for block in self.blocks:
            x = block(x, blocked)
        return x, x if self.downsample is None else self.downsample(x)


class SwinBlock(Recomputable):
    """Window attention and a small network per token, each added to its input."""

    def __init__(self, width: int, heads: int, window: int, *, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor, blocked: Tensor) -> Tensor:
        """(B, H, W, C) -> the same; `blocked` as `_blocked_pairs` gives it."""
        x = x + self.drop_path(self._attend(self.norm1(x), blocked))
        y: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return y

    def _attend(self, x: Tensor, blocked: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = _pad(x, self.window)  # with zeros, which take part in the attention
        padded_size = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        windows = self.attn(_cut(x, self.window), blocked if self.shift else None)
        x = _join(windows, padded_size[0], padded_size[1], self.window)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias per relative position."""

    relative_position_index: Tensor  # (N, N): rows of the table

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_positions(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        """(windows, N, C) -> the same; `blocked` (windows per picture, 1, N, N) or None."""
        windows, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(windows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        attend = _attend_and_learn if torch.is_grad_enabled() and x.device.type == "cpu" else _attend
        y = attend(q, k, v, self.bias().to(q.dtype), blocked)  # (windows, heads, N, C / heads)
        z: Tensor = self.proj(y.transpose(1, 2).reshape(windows, tokens, width))
        return z

    def bias(self) -> Tensor:
        """(1, heads, N, N)."""
        rows = self.relative_position_bias_table[self.relative_position_index]  # (N, N, heads)
        return rows.permute(2, 0, 1)[None]


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, blocked: Tensor | None) -> Tensor:
    """Softmax of scaled products plus bias, times values, by torch's fused kernel.

    Args:
        q, k, v: (windows, heads, N, D).
        bias: (1, heads, N, N).
        blocked: (windows per picture, 1, N, N), True where a token must not see another, or None.
    """
    if blocked is not None:
        # Each token sees itself, so that no row is -inf throughout and none becomes "not a number".
        bias = bias.masked_fill(blocked, float("-inf"))  # (windows per picture, heads, N, N)
        if len(q) > len(bias):
            bias = bias.repeat(len(q) // len(bias), 1, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def _attend_and_learn(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, blocked: Tensor | None) -> Tensor:
    """The same step by step, for gradients on a CPU.

    There the fused kernel takes no bias that learns, and what torch does in its place computes in float32 whatever the
    type, makes one mask per head and picture, and keeps more for the backward pass.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    scores = scores.add_(bias)  # in place: nothing needs the products themselves again
    if blocked is not None:
        mask = torch.zeros_like(blocked, dtype=scores.dtype).masked_fill_(blocked, float("-inf"))
        scores = scores.add_(mask.repeat(len(q) // len(mask), 1, 1, 1))
    y: Tensor = scores.softmax(dim=-1) @ v
    return y


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class PatchMerging(Recomputable):
    """Four neighbours become one token: (B, H, W, C) -> (B, H/2, W/2, 2C), rounded up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = _pad(x, 2)
        phases = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        y: Tensor = self.reduction(self.norm(torch.cat(phases, dim=-1)))
        return y


def _pad(x: Tensor, multiple: int) -> Tensor:
    """(B, H, W, C) with zeros below and to the right, so that H and W are multiples of `multiple`."""
    down, right = -x.shape[1] % multiple, -x.shape[2] % multiple
    return F.pad(x, (0, 0, 0, right, 0, down)) if down or right else x


def _cut(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B windows, N, C), row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def _join(windows: Tensor, height: int, width: int, window: int) -> Tensor:
    """The inverse of `_cut`: (B windows, N, C) -> (B, height, width, C)."""
    x = windows.reshape(-1, height // window, width // window, window, window, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def _blocked_pairs(x: Tensor, window: int, shift: int) -> Tensor:
    """Pairs of tokens that a shifted window brings together although they lie at opposite borders.

    Args:
        x: the map (B, H, W, C), before padding.
        window: side of the windows.
        shift: how far they are shifted.

    Returns:
        (windows, 1, N, N) bool, True where attention is blocked.
    """
    rows, columns = (_regions(length + -length % window, window, shift, x.device) for length in x.shape[1:3])
    regions = rows[:, None] * 3 + columns  # (H, W)
    cut = _cut(regions[None, :, :, None], window)[..., 0]  # (windows, N)
    return (cut[:, :, None] != cut[:, None, :])[:, None]


def _regions(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Along one axis: 0 up to the last window, then 1, and 2 for what came around from the other border."""
    place = torch.arange(length, device=device)
    return (place >= length - window).int() + (place >= length - shift).int()


def _relative_positions(window: int) -> Tensor:
    """(N, N) int64: row of the bias table for each pair of a window's tokens."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    down = y[:, None] - y[None, :] + window - 1
    right = x[:, None] - x[None, :] + window - 1
    return down * (2 * window - 1) + right


def _initialise(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        if isinstance(part, WindowAttention):
            nn.init.trunc_normal_(part.relative_position_bias_table, std=0.02)
