"""Training memory: which activations are kept for the backward pass."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from birefnet.errors import ConfigError
from birefnet.network.recompute import Recomputable

Checkpointing = Literal["none", "backbone", "all"]


def checkpoint_activations(network: nn.Module, which: Checkpointing) -> None:
    """Choose the parts of `network` that compute their activations again in the backward pass (in place).

    What is computed stays the same: outputs, gradients, dropped units and the statistics of batch norm. Names and
    values of the state dict are untouched, so that checkpoints with and without it are interchangeable. The choice
    replaces an earlier one.

    Args:
        network: a `BiRefNet`, or a module that contains one (as after `torch.compile` or in DDP).
        which: "backbone" for each block of the backbone, "all" for the decoder's attention and picture blocks too,
            "none" to keep everything.

    Raises:
        ConfigError: if `which` is none of these.
    """
    if which not in get_args(Checkpointing):
        raise ConfigError(
            f"`activation_checkpointing` is {which!r}; choose one of {', '.join(map(repr, get_args(Checkpointing)))}"
        )
    for name, part in network.named_modules():
        if isinstance(part, Recomputable):
            inside = "encoder.backbone." in f"{name}."
            part.recomputes = which == "all" or (which == "backbone" and inside)
