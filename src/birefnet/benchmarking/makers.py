"""How each runtime is made; called in the process of its row, where its libraries are not yet imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from birefnet.benchmarking.job import Job
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.base import Batch, Logits, Runtime

if TYPE_CHECKING:
    from birefnet.runtimes.base import Mode

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
COMPUTED: dict[str, Literal["float32", "bfloat16"]] = {
    "fp32": "float32",
    "bf16": "bfloat16",
}  # by OpenVINO; files of other precisions as it prefers


class Eager:
    """A network as it is written, on one device: the reference."""

    dynamic = True

    def __init__(self, job: Job) -> None:
        import torch

        from birefnet.devices import choose_device
        from birefnet.weights.checkpoint import load_model

        if job.threads is not None:
            torch.set_num_threads(job.threads)
        self.name = job.runtime
        self.device = choose_device(job.device)
        self.spec: InputSpec = job.spec
        self._torch = torch
        self._dtype: torch.dtype = getattr(torch, DTYPES[job.precision])
        self._network = load_model(job.weights).to(device=self.device, dtype=self._dtype).eval()

    def __call__(self, batch: Batch) -> Logits:
        """See `Runtime`."""
        with self._torch.inference_mode():
            picture = self._torch.from_numpy(batch).to(self.device, self._dtype)
            logits: Logits = np.asarray(self._network(picture).logits.float().cpu().numpy())
        return logits


def eager(job: Job) -> Runtime:
    return Eager(job)


def torch(job: Job) -> Runtime:
    return _torch(job, "eager")


def compiled(job: Job) -> Runtime:
    return _torch(job, "compiled")


def graphs(job: Job) -> Runtime:
    return _torch(job, "graphs")


def _torch(job: Job, mode: Mode) -> Runtime:
    from birefnet.runtimes.torch import TorchRuntime
    from birefnet.weights.checkpoint import load_model

    network = load_model(job.weights)
    return TorchRuntime(
        network, job.spec, device=job.device, dtype=DTYPES[job.precision], mode=mode, threads=job.threads
    )


def onnx(job: Job) -> Runtime:
    from birefnet.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(job.file, device=job.device, threads=job.threads)


def openvino(job: Job) -> Runtime:
    from birefnet.runtimes.openvino import OpenVinoRuntime

    return OpenVinoRuntime(job.file, device=job.device, threads=job.threads, dtype=COMPUTED.get(job.precision, "auto"))


def package(job: Job) -> Runtime:
    from birefnet.runtimes.aoti import AotiRuntime

    return AotiRuntime(job.file, device=job.device, threads=job.threads)


def tensorrt(job: Job) -> Runtime:
    from birefnet.runtimes.tensorrt import TensorRtRuntime

    return TensorRtRuntime(job.file, device=job.device)


# One row for each name of `birefnet.benchmarking.table.BACKENDS`.
MAKERS: dict[str, Callable[[Job], Runtime]] = {
    "eager": eager,
    "torch": torch,
    "compiled": compiled,
    "graphs": graphs,
    "onnx": onnx,
    "onnx-decomposed": onnx,
    "openvino": openvino,
    "package": package,
    "tensorrt": tensorrt,
}
