"""Small layers that more than one backbone uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: while training, a whole residual branch is left out of some pictures of the batch.

    The branches that stay are scaled up so that the expectation does not change; outside training it is the
    identity. Set `rate` to 0 to switch it off. Huang et al., "Deep networks with stochastic depth", ECCV 2016.

    Args:
        rate: chance of leaving the branch out, in [0, 1).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """`branch` (B, ...), some of its B entries zeroed while training."""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        mask = branch.new_empty((branch.shape[0],) + (1,) * (branch.ndim - 1)).bernoulli_(keep)
        return branch * (mask / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """Rates that grow linearly from 0 in the first of `blocks` blocks to `last` in the last one."""
    # On the processor whatever the default device: the values are needed even for a network on "meta".
    return [float(rate) for rate in torch.linspace(0, last, blocks, device="cpu")]
