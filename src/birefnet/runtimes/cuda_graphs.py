"""CUDA graphs: a network's kernels are recorded once per size of picture and then started all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from birefnet.network.birefnet import Prediction
from birefnet.network.inference.recent import Recent
from birefnet.processes import PerProcess

_KEPT = 2  # sizes; each graph keeps the memory of a whole run
_WARM_UP = 3  # runs before the recording, as torch's manual asks for


class Recording(NamedTuple):
    """A run of a network that can be repeated: it reads `taken` and overwrites `given`."""

    replay: Callable[[], None]
    taken: Tensor  # (B, 3, H, W)
    given: Tensor  # (B, 1, H, W), the logits


class CudaGraphs(nn.Module):
    """A network whose runs are recorded and replayed; (B, 3, H, W) -> `Prediction`. Safe to call from several threads.

    A recording has one place for pictures and one for logits, so one thread at a time uses it, from the picture going
    in until its logits are copied out.

    Args:
        network: on a CUDA device.
        record: makes a recording for pictures like the one given.
    """

    def __init__(self, network: nn.Module, record: Callable[[nn.Module, Tensor], Recording] | None = None) -> None:
        super().__init__()
        self.network = network
        self._record = record or record_graph
        self._recordings: Recent[Recording] = Recent(_KEPT)
        self._lock = PerProcess(threading.Lock)

    def forward(self, picture: Tensor) -> Prediction:
        with self._lock():
            key = (*picture.shape, picture.dtype)
            recording = self._recordings.get(key, lambda: self._record(self.network, picture))
            recording.taken.copy_(picture)
            recording.replay()
            logits = recording.given.clone()
            if picture.is_cuda:  # the copy is only ordered so far; another thread may use another stream
                torch.cuda.current_stream(picture.device).synchronize()
        return Prediction(logits)


def record_graph(network: nn.Module, picture: Tensor) -> Recording:
    """Record a run on the picture's CUDA device."""
    taken = picture.clone()
    aside = torch.cuda.Stream(picture.device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(picture.device))
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UP):
            network(taken)
    torch.cuda.current_stream(picture.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # What other threads ask of the GPU meanwhile, their pictures for instance, does not belong to the recording.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        given = network(taken).logits
    return Recording(graph.replay, taken, given)
