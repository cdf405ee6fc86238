"""The moving average of the weights, which is what a run is judged by and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """A second value for every weight that is trained and every statistic that moves.

    Where the weights are cut into pieces over several processes (FSDP), each keeps the average of its own pieces.

    Args:
        model: whose values are averaged; may be wrapped.
        decay: per step, below 1; 0 keeps no average, so that the weights stand for it themselves.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = moving(model) if decay else []
        self._values = [value.detach().clone() for value in self._live]

    @torch.no_grad()
    def move(self, step: int) -> None:
        """Take in the weights as they are after `step` steps."""
        if self._live:
            # Young averages move faster, or the random start would linger for hundreds of steps.
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._values, [value.detach() for value in self._live], 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the model has the averaged values; whatever is loaded into it then becomes the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, value in zip(self._live, self._values, strict=True):
            kept = live.detach().clone()
            live.copy_(value)
            value.copy_(kept)


def moving(model: nn.Module) -> list[Tensor]:
    """What training changes: trainable weights, and floating-point buffers such as a batch norm's statistics."""
    weights = [local(parameter) for parameter in model.parameters() if parameter.requires_grad]
    return weights + [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def local(value: Tensor) -> Tensor:
    """The piece of `value` that this process holds; `value` itself where it is not cut into pieces."""
    piece = getattr(value, "_local_tensor", value)
    assert isinstance(piece, Tensor)
    return piece
