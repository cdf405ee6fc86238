"""Swin for pictures of one size, as a graph of few, plain operations that needs little memory at once.

The tokens are a table. Which token stands where in which window is known beforehand, so that shifting, padding and
cutting into windows are one gathering of rows, and their reverse another. Windows are taken some at a time, and those
that need no mask get none: as a graph, one mask per window and head would be larger than the network.

Padding costs no products: what zeros become is the layer's bias.

Letters: B = 1 picture, H W size of a map in tokens, C channels, T = H W tokens, N tokens of a window, n windows taken
together, h heads, D = C / h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from birefnet.network.backbones.base import Backbone, Groups, Maps
from birefnet.network.backbones.swin import Mlp, Swin, SwinBlock, SwinStage, WindowAttention
from birefnet.network.inference.swin import windows_of

Two = tuple[int, int]


class Part(NamedTuple):
    """Windows taken together: their tokens, and which pairs must not see each other."""

    rows: Tensor  # (n N,) int32, rows of the table; T, one behind its end, for padding
    blocked: Tensor | None  # (n, 1, N, N), 0 or -inf; None where all see all


class Plan(NamedTuple):
    """How a map of one size is cut into windows."""

    parts: Sequence[Part]
    back: Tensor  # (T,) int32: where each token stands among all windows' tokens, part by part
    padded: bool


class FixedSwin(Backbone):
    """The function of `Swin` for pictures of some sizes, one picture at a time.

    Args:
        swin: its weights are shared.
        sizes: (height, width) of the pictures that it will see.
        part_bytes: about how large the widest map between two operations may be.
    """

    def __init__(self, swin: Swin, sizes: Sequence[Two], part_bytes: int) -> None:
        super().__init__()
        self.patch_embed = swin.patch_embed
        steps = [_halved([-(-side // 4) for side in size], stage) for size in sizes for stage in range(4)]
        self.stages = nn.ModuleList(
            _Stage(cast(SwinStage, stage), steps[index::4], part_bytes) for index, stage in enumerate(swin.layers)
        )
        self.norms = nn.ModuleList(swin.get_submodule(f"norm{index}") for index in range(4))
        self._groups = swin.groups()

    def forward(self, picture: Tensor) -> Maps:
        x = self.patch_embed(picture)  # (1, H, W, C)
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
    """The blocks of one stage, then the next stage's input."""

    def __init__(self, stage: SwinStage, sizes: Sequence[Two], part_bytes: int) -> None:
        super().__init__()
        attention = cast(SwinBlock, stage.blocks[0]).attn
        self.plans = nn.ModuleDict()
        for size in dict.fromkeys(sizes):
            for shift in (0, stage.window // 2):
                per_part = max(1, part_bytes // (4 * attention.heads * stage.window**4))
                self.plans[_key(size, shift)] = _KeptPlan(make_plan(*size, stage.window, shift, per_part))
        self.blocks = nn.ModuleList(_Block(cast(SwinBlock, block), part_bytes) for block in stage.blocks)
        self.downsample = stage.downsample

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(1, H, W, C) -> the same shape, and (1, H/2, W/2, 2C)."""
        _, height, width, channels = x.shape
        table = x.reshape(-1, channels)
        for block in self.blocks:
            plan = cast(_KeptPlan, self.plans[_key((height, width), cast(_Block, block).shift)])
            table = block(table, plan.plan())
        x = table.reshape(1, height, width, channels)
        return x, x if self.downsample is None else self.downsample(x)


class _Block(nn.Module):
    """Window attention, then the small network per token: (T, C) -> (T, C)."""

    def __init__(self, block: SwinBlock, part_bytes: int) -> None:
        super().__init__()
        self.shift = block.shift
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention = _Attention(block.attn)
        self.mlp = _MlpByParts(block.mlp, part_bytes)

    def forward(self, table: Tensor, plan: Plan) -> Tensor:
        table = table + self.attention(self.norm1(table), plan)
        y: Tensor = table + self.mlp(self.norm2(table))
        return y


class _MlpByParts(nn.Module):
    """The function of `Mlp`, some tokens at a time."""

    def __init__(self, mlp: Mlp, part_bytes: int) -> None:
        super().__init__()
        self.mlp = mlp
        self.step = max(1, part_bytes // (4 * mlp.fc1.out_features))

    def forward(self, x: Tensor) -> Tensor:
        parts = -(-x.shape[0] // self.step)
        if parts == 1:
            return cast(Tensor, self.mlp(x))
        step = -(-x.shape[0] // parts)
        return torch.cat([self.mlp(some) for some in torch.split(x, step)])


class _Attention(nn.Module):
    """Attention among the tokens of each window: (T, C) -> (T, C)."""

    bias: Tensor  # (1, h, N, N)

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        width = attention.qkv.in_features
        weights = torch.split(attention.qkv.weight.detach(), width)
        biases = torch.split(attention.qkv.bias.detach(), width)
        scale = (width // self.heads) ** -0.5  # of the scores, part of the queries from the start
        self.q, self.k, self.v = (
            _linear(weight * factor, bias * factor)
            for weight, bias, factor in zip(weights, biases, (scale, 1, 1), strict=True)
        )
        self.proj = attention.proj
        self.register_buffer("bias", attention.bias().detach().contiguous())

    def forward(self, x: Tensor, plan: Plan) -> Tensor:
        if plan.padded:
            x = F.pad(x, (0, 0, 0, 1))  # a row of zeros, which padding is
        queries, keys, values = self.q(x), self.k(x), self.v(x)
        mixed = [self._part(queries, keys, values, part) for part in plan.parts]
        windows = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        y: Tensor = self.proj(windows.index_select(0, plan.back))
        return y

    def _part(self, queries: Tensor, keys: Tensor, values: Tensor, part: Part) -> Tensor:
        """Tables (T + 1, C) each -> (n N, C)."""
        tokens, width = self.bias.shape[-1], queries.shape[-1]
        q, k, v = (
            table.index_select(0, part.rows).reshape(-1, tokens, self.heads, width // self.heads)  # (n, N, h, D)
            for table in (queries, keys, values)
        )
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) + self.bias  # (n, h, N, N)
        if part.blocked is not None:
            scores = scores + part.blocked
        mixed = scores.softmax(dim=-1) @ v.transpose(1, 2)  # (n, h, N, D)
        return mixed.transpose(1, 2).reshape(-1, width)


class _KeptPlan(nn.Module):
    """A plan whose tensors are constants of a graph."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.count, self.padded = len(plan.parts), plan.padded
        self.register_buffer("back", plan.back)
        for index, part in enumerate(plan.parts):
            self.register_buffer(f"rows{index}", part.rows)
            self.register_buffer(f"blocked{index}", part.blocked)

    def plan(self) -> Plan:
        parts = [Part(getattr(self, f"rows{index}"), getattr(self, f"blocked{index}")) for index in range(self.count)]
        return Plan(parts, cast(Tensor, self.back), self.padded)


def make_plan(height: int, width: int, window: int, shift: int, per_part: int) -> Plan:
    """How a map of one size is cut into windows, at most `per_part` of them at a time."""
    rows, regions = windows_of(height, width, window, shift)  # (windows, N) each
    mixed = (regions != regions[:, :1]).any(dim=1)
    parts, order = [], []
    for chosen in (~mixed, mixed):
        count = int(chosen.sum())
        if not count:
            continue
        even = -(-count // -(-count // per_part))  # parts of about equal size
        for some in torch.split(chosen.nonzero().flatten(), even):
            taken = rows[some].flatten()
            blocked = None
            if chosen is mixed:
                pairs = regions[some][:, :, None] != regions[some][:, None, :]
                blocked = torch.zeros(pairs.shape).masked_fill_(pairs, float("-inf"))[:, None]
            parts.append(Part(torch.where(taken < 0, height * width, taken).int(), blocked))
            order.append(taken)
    tokens = torch.cat(order)
    real = (tokens >= 0).nonzero().flatten()
    back = torch.empty(height * width, dtype=torch.int32)
    back[tokens[real]] = real.int()
    return Plan(parts, back, bool((tokens < 0).any()))


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(one, requires_grad=False) for one in (weight, bias))
    return layer


def _halved(size: Sequence[int], times: int) -> Two:
    """Sides halved some times, rounded up each time, as patch merging does."""
    height, width = size
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def _key(size: Two, shift: int) -> str:
    return f"{size[0]}x{size[1]}+{shift}"
