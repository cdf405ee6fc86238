"""CUDA graphs: a network's kernels are recorded once per size of picture and then started all at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from birefnet.network.birefnet import Prediction

_KEPT = 2  # sizes; each graph keeps the memory of a whole run
_WARM_UP = 3  # runs before the recording, as torch's manual asks for


class CudaGraphs(nn.Module):
    """A network on a CUDA device whose runs are replayed; (B, 3, H, W) -> `Prediction`.

    The logits it gives are overwritten by the next run of the same shape.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._recorded: OrderedDict[tuple[Any, ...], tuple[Any, Tensor, Tensor]] = OrderedDict()

    def forward(self, picture: Tensor) -> Prediction:
        key = (*picture.shape, picture.dtype)
        if key not in self._recorded:
            self._recorded[key] = self._record(picture)
            while len(self._recorded) > _KEPT:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(key)
        graph, taken, given = self._recorded[key]
        taken.copy_(picture)
        graph.replay()
        return Prediction(given)

    def _record(self, picture: Tensor) -> tuple[Any, Tensor, Tensor]:
        taken = picture.clone()
        aside = torch.cuda.Stream(picture.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(picture.device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self.network(taken)
        torch.cuda.current_stream(picture.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            given = self.network(taken).logits
        return graph, taken, given
