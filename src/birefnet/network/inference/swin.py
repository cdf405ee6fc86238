"""Swin on a CPU: a few windows or tokens at a time, so that what lies between two steps stays in the cache.

The tokens are a table (T, C). A block of windows is gathered from it, shifted and padded at once, and written back to
its place: windows share no token, so the table is changed in place.

Letters: B batch, H W size of a map in tokens, C channels, T = B * H * W tokens, w side of a window, N = w * w,
n windows of a block, heads h, D = C / h.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.backbones.base import Backbone, Groups, Maps
from birefnet.network.backbones.swin import Mlp, PatchMerging, Swin, SwinBlock, SwinStage, WindowAttention
from birefnet.network.inference.kernels import linear
from birefnet.network.inference.recent import Recent

_KEPT_PLANS = 8  # of a stage; two scales, shifted or not: two sizes of pictures


class Windows(NamedTuple):
    """Some windows: the tokens of each, and which pairs must not see each other."""

    rows: Tensor  # (n N,) int64, rows of the table; T, one behind its end, for padding
    padding: Tensor | None  # (n N, 1) zeros where a token is padding, else ones; None where none is
    blocked: Tensor | None  # (n, 1, N, N), 0 or -inf


class SwinByBlocks(Backbone):
    """The function of `Swin`, outside training.

    Args:
        swin: on the CPU, in the type to compute in; its weights are shared.
        block_bytes: about how large the widest map of a block may be.
    """

    def __init__(self, swin: Swin, block_bytes: int) -> None:
        super().__init__()
        self.patch_embed = swin.patch_embed
        self.stages = nn.ModuleList(_Stage(cast(SwinStage, stage), block_bytes) for stage in swin.layers)
        norms = (cast(nn.LayerNorm, swin.get_submodule(f"norm{index}")) for index in range(4))
        self.norms = nn.ModuleList(_precise(norm) for norm in norms)
        self._groups = swin.groups()

    def forward(self, picture: Tensor) -> Maps:
        x = self.patch_embed(picture)  # (B, H, W, C)
        maps = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x, following = stage(x)
            maps.append(norm(x).to(picture.dtype).permute(0, 3, 1, 2))
            x = following
        x1, x2, x3, x4 = maps
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        return self._groups


class _Stage(nn.Module):
    """The blocks of one stage on one table, then the next stage's input."""

    def __init__(self, stage: SwinStage, block_bytes: int) -> None:
        super().__init__()
        self.window = stage.window
        self.block_bytes = block_bytes
        self.blocks = nn.ModuleList(_Block(cast(SwinBlock, block), block_bytes) for block in stage.blocks)
        self.downsample = None if stage.downsample is None else _Merging(stage.downsample)
        self._plans: Recent[list[Windows]] = Recent(_KEPT_PLANS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) -> the same shape, and (B, H/2, W/2, 2C)."""
        channels = x.shape[-1]
        # One row more, for the padding to be read from and written to. In float32, whatever the type of the products:
        # what all blocks add up would lose most in half precision.
        table = torch.empty(x[..., 0].numel() + 1, channels, dtype=_sums(x.dtype))
        table[:-1] = x.reshape(-1, channels)
        table[-1] = 0
        for block in self.blocks:
            block(table, self._plan(x, cast(_Block, block).shift))
        x = table[:-1].view(x.shape)
        return x, x if self.downsample is None else self.downsample(x)

    def _plan(self, x: Tensor, shift: int) -> list[Windows]:
        batch, height, width, channels = x.shape
        dtype = x.dtype
        per_block = max(1, self.block_bytes // (3 * channels * x.element_size() * self.window**2))
        return self._plans.get(
            (batch, height, width, shift, dtype),
            lambda: list(_plan(batch, height, width, self.window, shift, per_block, dtype)),
        )


class _Block(nn.Module):
    """Window attention, then the small network per token; changes the table."""

    def __init__(self, block: SwinBlock, block_bytes: int) -> None:
        super().__init__()
        self.shift = block.shift
        self.norm1, self.norm2 = _precise(block.norm1), _precise(block.norm2)
        self.attention = _Attention(block.attn)
        self.mlp = _MlpByBlocks(block.mlp, block_bytes)

    def forward(self, table: Tensor, plan: list[Windows]) -> None:
        for windows in plan:
            rows = table.index_select(0, windows.rows)
            y = self.norm1(rows).to(self.attention.dtype)
            if windows.padding is not None:
                y *= windows.padding
            rows += self.attention(y, windows.blocked)
            table.index_copy_(0, windows.rows, rows)
        self.mlp(table, self.norm2)


class _MlpByBlocks(nn.Module):
    """Adds to each token what the small network makes of it; changes the table."""

    def __init__(self, mlp: Mlp, block_bytes: int) -> None:
        super().__init__()
        self.first, self.second = _weights(mlp.fc1), _weights(mlp.fc2)
        self.step = max(1, block_bytes // (mlp.fc1.out_features * mlp.fc1.weight.element_size()))

    def forward(self, table: Tensor, norm: nn.LayerNorm) -> None:
        for start in range(0, len(table), self.step):
            rows = table[start : start + self.step]
            weight, bias = self.first
            hidden = linear(norm(rows).to(weight.dtype), weight, bias, "gelu")
            rows += linear(hidden, *self.second)


class _Attention(nn.Module):
    """Attention among the tokens of each of n windows: (n N, C) -> the same."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        weight, bias = attention.qkv.weight.detach(), attention.qkv.bias.detach()
        width = weight.shape[1]
        # The scale of the scores, part of the queries from the start.
        scale = torch.ones(3 * width, dtype=torch.float64)
        scale[:width] = (width // self.heads) ** -0.5
        self.qkv = _constants((weight * scale[:, None]).to(weight.dtype), (bias * scale).to(weight.dtype))
        self.proj = _weights(attention.proj)
        self.bias = _constants(attention.bias().to(weight.dtype).contiguous())[0]  # (1, h, N, N)

    @property
    def dtype(self) -> torch.dtype:
        """The type that it takes."""
        return cast(Tensor, self.bias).dtype

    def forward(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        tokens, width = self.bias.shape[-1], x.shape[-1]
        parts = linear(x, *self.qkv).reshape(-1, tokens, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (n, h, N, D) each
        # Step by step: torch's fused attention takes a quarter longer for windows as small as these.
        scores = torch.matmul(q, k.transpose(-2, -1)).add_(self.bias)
        if blocked is not None:
            scores += blocked
        mixed = torch.matmul(scores.softmax(dim=-1), v)  # (n, h, N, D)
        return linear(mixed.transpose(1, 2).reshape(x.shape), *self.proj)


class _Merging(nn.Module):
    """Four neighbours become one token; the function of Swin's patch merging."""

    def __init__(self, merging: PatchMerging) -> None:
        super().__init__()
        self.norm, self.weight = _precise(merging.norm), merging.reduction.weight

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        phases = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged = self.norm(torch.cat(phases, dim=-1)).to(self.weight.dtype)
        return linear(merged, self.weight, None)


def _weights(layer: nn.Linear) -> nn.ParameterList:
    return _constants(layer.weight.detach(), layer.bias.detach())


def _constants(*values: Tensor) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(value.detach(), requires_grad=False) for value in values)


def _sums(dtype: torch.dtype) -> torch.dtype:
    """The type in which the blocks' results are added up."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _precise(norm: nn.LayerNorm) -> nn.LayerNorm:
    return norm.to(_sums(norm.weight.dtype))


def _plan(
    batch: int, height: int, width: int, window: int, shift: int, per_block: int, dtype: torch.dtype
) -> Iterator[Windows]:
    """All windows of a batch of maps, `per_block` at a time; those that need no mask keep to themselves."""
    rows, regions = windows_of(height, width, window, shift)  # (windows, N) each
    mixed = (regions != regions[:, :1]).any(dim=1)
    for picture in range(batch):
        for chosen in (~mixed, mixed):
            for some in torch.split(chosen.nonzero().flatten(), per_block):
                if len(some):  # an empty tensor splits into one empty part
                    taken = rows[some].flatten()
                    padding = (taken < 0)[:, None]
                    places = torch.where(taken < 0, batch * height * width, taken + picture * height * width)
                    blocked = regions[some][:, :, None] != regions[some][:, None, :] if chosen is mixed else None
                    yield Windows(
                        places,
                        (~padding).to(dtype) if padding.any() else None,
                        None if blocked is None else _minus_infinity(blocked, dtype),
                    )


def windows_of(height: int, width: int, window: int, shift: int) -> tuple[Tensor, Tensor]:
    """For the windows of one map, row by row, (windows, N) each: their tokens, -1 for padding, and their regions."""
    (down, vertical), (right, horizontal) = (_along(length, window, shift) for length in (height, width))
    tokens = torch.where((down[:, None] < 0) | (right < 0), -1, down[:, None] * width + right)
    regions = vertical[:, None] * 3 + horizontal

    def cut(x: Tensor) -> Tensor:
        x = x.reshape(len(down) // window, window, len(right) // window, window)
        return x.transpose(1, 2).reshape(-1, window * window)

    return cut(tokens), cut(regions)


def _along(length: int, window: int, shift: int) -> tuple[Tensor, Tensor]:
    """Along one axis of the shifted map: the token at each place, -1 for padding, and its region.

    Regions are 0 up to the last window, then 1, and 2 for what came around from the other border.
    """
    padded = length + -length % window
    place = torch.arange(padded)
    token = (place + shift) % padded
    region = (place >= padded - window).long() + (place >= padded - shift) if shift else torch.zeros_like(place)
    return torch.where(token < length, token, -1), region


def _minus_infinity(blocked: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, N, N) bool -> (n, 1, N, N), -inf where blocked. Each token sees itself, so that no row is -inf throughout."""
    return torch.zeros(blocked.shape, dtype=dtype).masked_fill_(blocked, float("-inf"))[:, None]
