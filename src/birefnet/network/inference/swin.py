"""Swin on a CPU: a few windows or tokens at a time, so that what lies between two steps stays in the cache.

The tokens are a table (T, C). A block of windows is gathered from it, shifted and padded at once, and written back to
its place: windows share no token, so the table is changed in place.

Letters: B batch, H W size of a map in tokens, C channels, T = B * H * W tokens, w side of a window, N = w * w,
n windows of a block, heads h, D = C / h.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.backbones.base import Backbone, Groups, Maps
from birefnet.network.backbones.swin import Swin
from birefnet.network.inference.kernels import linear

_BLOCK_BYTES = 3 << 20  # of the widest map between two steps
_KEPT_PLANS = 32  # two scales, four stages, shifted or not: two sizes of pictures


class Windows(NamedTuple):
    """Some windows: the tokens of each, and which pairs must not see each other."""

    rows: Tensor  # (n N,) int64, rows of the table; T, one behind its end, for padding
    padding: Tensor | None  # (n N, 1) zeros where a token is padding, else ones; None where none is
    blocked: Tensor | None  # (n, 1, N, N), 0 or -inf


class SwinByBlocks(Backbone):
    """The function of `Swin`, outside training.

    Args:
        swin: on the CPU, in the type to compute in; its weights are shared.
    """

    def __init__(self, swin: Swin) -> None:
        super().__init__()
        self.patch_embed = swin.patch_embed
        self.stages = nn.ModuleList(_Stage(stage) for stage in swin.layers)
        self.norms = nn.ModuleList(swin.get_submodule(f"norm{index}") for index in range(4))
        self._groups = swin.groups()

    def forward(self, picture: Tensor) -> Maps:
        x = self.patch_embed(picture)  # (B, H, W, C)
        maps = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x, following = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
            x = following
        x1, x2, x3, x4 = maps
        return x1, x2, x3, x4

    def groups(self) -> Groups:
        return self._groups


class _Stage(nn.Module):
    """The blocks of one stage on one table, then the next stage's input."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.window: int = stage.window
        self.blocks = nn.ModuleList(_Block(block) for block in stage.blocks)
        self.downsample = None if stage.downsample is None else _Merging(stage.downsample)
        self._plans: OrderedDict[tuple[object, ...], list[Windows]] = OrderedDict()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) -> the same shape, and (B, H/2, W/2, 2C)."""
        channels = x.shape[-1]
        # One row more, for the padding to be read from and written to.
        table = torch.empty(x[..., 0].numel() + 1, channels, dtype=x.dtype)
        table[:-1] = x.reshape(-1, channels)
        table[-1] = 0
        for block in self.blocks:
            block(table, self._plan(x, block.shift))
        x = table[:-1].view(x.shape)
        return x, x if self.downsample is None else self.downsample(x)

    def _plan(self, x: Tensor, shift: int) -> list[Windows]:
        batch, height, width, channels = x.shape
        per_block = max(1, _BLOCK_BYTES // (3 * channels * x.element_size() * self.window**2))
        key = (batch, height, width, shift, x.dtype)
        if key not in self._plans:
            self._plans[key] = list(_plan(batch, height, width, self.window, shift, per_block, x.dtype))
            while len(self._plans) > _KEPT_PLANS // 4:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return self._plans[key]


class _Block(nn.Module):
    """Window attention, then the small network per token; changes the table."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.shift: int = block.shift
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention = _Attention(block.attn)
        self.mlp = block.mlp

    def forward(self, table: Tensor, plan: list[Windows]) -> None:
        for windows in plan:
            rows = table.index_select(0, windows.rows)
            y = self.norm1(rows)
            if windows.padding is not None:
                y *= windows.padding
            rows += self.attention(y, windows.blocked)
            table.index_copy_(0, windows.rows, rows)
        first, second = self.mlp.fc1, self.mlp.fc2
        step = max(1, _BLOCK_BYTES // (first.out_features * table.element_size()))
        for rows in table.split(step):
            hidden = linear(self.norm2(rows), first.weight, first.bias, "gelu")
            rows += linear(hidden, second.weight, second.bias)


class _Attention(nn.Module):
    """Attention among the tokens of each of n windows: (n N, C) -> the same."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.heads: int = attention.heads
        weight, bias = attention.qkv.weight.detach(), attention.qkv.bias.detach()
        width = weight.shape[1]
        # The scale of the scores, part of the queries from the start.
        scale = torch.ones(3 * width, dtype=torch.float64)
        scale[:width] = (width // self.heads) ** -0.5
        self.qkv_weight = nn.Parameter((weight * scale[:, None]).to(weight.dtype), requires_grad=False)
        self.qkv_bias = nn.Parameter((bias * scale).to(bias.dtype), requires_grad=False)
        self.bias = nn.Parameter(attention._bias().detach().to(weight.dtype).contiguous(), requires_grad=False)
        self.proj = attention.proj

    def forward(self, x: Tensor, blocked: Tensor | None) -> Tensor:
        tokens, width = self.bias.shape[-1], x.shape[-1]
        parts = linear(x, self.qkv_weight, self.qkv_bias).reshape(-1, tokens, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (n, h, N, D) each
        scores = torch.matmul(q, k.transpose(-2, -1)).add_(self.bias)
        if blocked is not None:
            scores += blocked
        mixed = torch.matmul(scores.softmax(dim=-1), v)  # (n, h, N, D)
        return linear(mixed.transpose(1, 2).reshape(x.shape), self.proj.weight, self.proj.bias)


class _Merging(nn.Module):
    """Four neighbours become one token; the function of Swin's patch merging."""

    def __init__(self, merging: nn.Module) -> None:
        super().__init__()
        self.norm, self.reduction = merging.norm, merging.reduction

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        phases = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return linear(self.norm(torch.cat(phases, dim=-1)), self.reduction.weight, None)


def _plan(
    batch: int, height: int, width: int, window: int, shift: int, per_block: int, dtype: torch.dtype
) -> Iterator[Windows]:
    """All windows of a batch of maps, `per_block` at a time; those that need no mask keep to themselves."""
    rows, regions = _windows(height, width, window, shift)  # (windows, N) each
    mixed = (regions != regions[:, :1]).any(dim=1)
    for picture in range(batch):
        for chosen in (~mixed, mixed):
            for some in chosen.nonzero().flatten().split(per_block):
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


def _windows(height: int, width: int, window: int, shift: int) -> tuple[Tensor, Tensor]:
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
