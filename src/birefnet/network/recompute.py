"""Parts that can trade time for memory: forget what they computed on the way forward, compute it again on the way back.

Chen et al., "Training deep nets with sublinear memory cost", 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Recomputable(nn.Module):
    """A part whose activations need not be kept for the backward pass.

    With `recomputes` set, a call that records gradients keeps its inputs only; the backward pass runs `forward` again,
    with the same dropped outputs and without moving the statistics of batch norm a second time. Value and gradients
    stay the same; the state dict knows nothing of it.

    Attributes:
        recomputes: whether to do so; one may set it at any time between two steps.
    """

    recomputes: bool = False

    def __call__(self, *inputs: Any) -> Any:
        return self.recomputed(super().__call__, *inputs)

    def recomputed(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """`function(*inputs)`, a part of this module; where `recomputes` is set, in the backward pass again."""
        if not (self.recomputes and torch.is_grad_enabled()):
            return function(*inputs)
        if torch.compiler.is_compiling():  # a compiler moves the statistics once by itself, and knows no such contexts
            return checkpoint(function, *inputs, use_reentrant=False)
        return checkpoint(function, *inputs, use_reentrant=False, context_fn=self._contexts)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What the forward pass and its repetition run in."""
        return nullcontext(), _still_statistics(self)


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, every batch norm of `module` moves copies of its running statistics, which are then thrown away."""
    kept: list[tuple[nn.Module, dict[str, torch.Tensor | None]]] = []
    for part in module.modules():
        if isinstance(part, BATCH_NORMS):
            kept.append((part, dict(part.named_buffers(recurse=False))))
    try:
        for part, buffers in kept:
            for name, value in buffers.items():
                setattr(part, name, None if value is None else value.clone())
        yield
    finally:
        for part, buffers in kept:
            for name, value in buffers.items():
                setattr(part, name, value)
