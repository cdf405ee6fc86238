"""Networks as PyTorch modules: the whole family, on any device that PyTorch knows."""

from __future__ import annotations

import copy
import logging
import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, get_args

import numpy as np

from birefnet.devices import choose_device
from birefnet.errors import ConfigError, DeviceError, require
from birefnet.pixels.prepare import InputSpec
from birefnet.processes import PerProcess
from birefnet.runtimes import machine
from birefnet.runtimes.base import Batch, Logits, Memory, Mode, check_batch, check_logits, check_shape, fits, spec_at
from birefnet.runtimes.threads import CpuThreads

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)

DTYPES = ("auto", "float32", "bfloat16", "float16")


class TorchRuntime:
    """A BiRefNet (or any module that gives a `Prediction`) on one device, in one precision.

    A BiRefNet is turned into its inference form: the same function with fewer operations, see
    `birefnet.network.inference`. In half precision a network may overflow on some picture. That picture is computed
    again in float32, with the weights as they were rounded to half precision; so what becomes of a picture depends on
    nothing that ran before it. From the first such picture on, the network is in memory in float32 as well.

    Args:
        model: moved to the device and put into evaluation mode; used up, not copied.
        spec: the input it was trained for.
        name: what to call it.
        size: (width, height) to run at instead of the network's own; multiples of 32.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16" or "float16". Auto is float16 on CUDA, bfloat16 on processors that compute
            in it (AVX-512-BF16 or AMX; mean alpha difference about 0.0005), and float32 elsewhere. float16 is refused
            on a CPU.
        dynamic: whether other sizes may be asked for than the spec's.
        mode: "eager"; "compiled" by `torch.compile`, which takes minutes at the first picture of a size and needs a
            C++ compiler (on a CPU) or Triton (on a GPU), and is kept for later runs; or "graphs", CUDA graphs, which
            are recorded at the first picture of a size.
        memory: "normal" or "low": smaller steps on a CPU. Where the process is our program's own, "normal" also keeps
            freed memory for the next picture (Linux).
        threads: CPU threads; None for as many as PyTorch takes. PyTorch has one number for the process: it is set for
            the length of each run, see `birefnet.runtimes.threads`. In a process that was forked after PyTorch had
            computed there is one thread, because OpenMP waits for ever for others.

    Raises:
        DeviceError: if this machine has no such device.
        ConfigError: for an unknown dtype, mode or memory, float16 on a CPU, or graphs without CUDA.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: InputSpec,
        *,
        name: str = "model",
        size: tuple[int, int] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        dynamic: bool = True,
        mode: Mode = "eager",
        memory: Memory = "normal",
        threads: int | None = None,
    ) -> None:
        torch = require("torch", "torch")
        self.name = name
        self.spec = spec_at(spec, size, dynamic=dynamic, name=name)
        self.dynamic = dynamic
        self.device = choose_device(device)
        self.mode = check_mode(mode, self.device)
        self._could_be_low = memory == "normal" and self.device == "cpu"
        self._torch = torch
        self._lock = PerProcess(threading.Lock)
        self._dtype = getattr(torch, choose_dtype(dtype, self.device))
        on_cpu = self.device == "cpu"
        self._threads = CpuThreads(threads, keep_memory=memory == "normal") if on_cpu else nullcontext
        self._process = os.getpid()
        with self._threads():
            self._network = self._make(model.eval(), check_memory(memory))
        self._model = self._in_mode(self._network)
        self._wide: nn.Module | None = None

    def _make(self, model: nn.Module, memory: Memory) -> nn.Module:
        """The module that runs: on the device and in the precision."""
        torch = self._torch
        from birefnet.network import BiRefNet
        from birefnet.network.inference import cpu_form, inference_form

        if isinstance(model, BiRefNet):
            if self.device == "cpu" and self.mode == "eager":
                return cpu_form(model.cpu(), self._dtype, low_memory=memory == "low")
            model = inference_form(model, in_place=True)
        model = model.to(device=self.device, dtype=self._dtype)
        if not self.device.startswith("mps"):
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model

    def _in_mode(self, network: nn.Module) -> nn.Module:
        if self.mode == "compiled":
            from birefnet.runtimes.compiled import compiled

            return compiled(network)
        if self.mode == "graphs":
            from birefnet.runtimes.cuda_graphs import CudaGraphs

            return CudaGraphs(network)
        return network

    @property
    def dtype(self) -> str:
        """The precision it runs in: "float32", "bfloat16" or "float16"."""
        return str(self._dtype).removeprefix("torch.")

    def __call__(self, batch: Batch) -> Logits:
        """(B, 3, h, w) float32 normalised -> (B, 1, h, w) float32 logits; see `Runtime`."""
        check_batch(batch, self.spec, dynamic=self.dynamic)
        if self.device != "cpu" and self._process != os.getpid():
            raise DeviceError(
                f"`{self.name}` was loaded on `{self.device}` before this process was forked, which cannot use it.",
                hint='load it in the process that uses it, or start processes by the method "spawn"',
            )
        with fits(self, batch, low=self._could_be_low), self._threads():
            logits = check_shape(self._run(self._model, self._dtype, batch), batch, self.name)
            overflowed = ~np.isfinite(logits).all(axis=(1, 2, 3))
            if self.dtype != "float32" and overflowed.any():
                logits[overflowed] = self._run(self._in_float32(), self._torch.float32, batch[overflowed])
        return check_logits(logits, batch, self.name)

    def _run(self, model: nn.Module, dtype: torch.dtype, batch: Batch) -> Logits:
        torch = self._torch
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device, dtype)
            logits: Logits = model(tensor).logits.float().cpu().numpy()
        return logits

    def _in_float32(self) -> nn.Module:
        """The network for pictures on which it overflows in half precision; made at the first of them."""
        with self._lock():
            if self._wide is None:
                logger.warning(
                    "`%s` overflows in %s on some picture; such pictures are computed again in float32, with the "
                    "weights as they were rounded",
                    *(self.name, self.dtype),
                )
                self._wide = self._in_mode(copy.deepcopy(self._network).float())
            return self._wide


def choose_dtype(dtype: str, device: str) -> str:
    """ "auto" -> the precision for a device; others are checked.

    Raises:
        ConfigError: for an unknown one, or float16 on a CPU.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"Unknown dtype `{dtype}`; wanted {', '.join(DTYPES)}.")
    if dtype == "auto":
        if device.startswith("cuda"):
            return "float16"
        return "bfloat16" if device == "cpu" and machine.computes_in_bfloat16() else "float32"
    if dtype == "float16" and device == "cpu":
        raise ConfigError("float16 is slower than float32 on a CPU and may overflow; take float32 or bfloat16.")
    return dtype


def check_mode(mode: Mode, device: str) -> Mode:
    """Give back a mode that exists and that the device has.

    Raises:
        ConfigError: otherwise.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"Unknown mode `{mode}`; wanted {', '.join(get_args(Mode))}.")
    if mode == "graphs" and not device.startswith("cuda"):
        raise ConfigError(f"CUDA graphs need a CUDA device, not `{device}`; take the mode eager or compiled.")
    return mode


def check_memory(memory: Memory) -> Memory:
    """Give back a way with memory that exists.

    Raises:
        ConfigError: otherwise.
    """
    if memory not in get_args(Memory):
        raise ConfigError(f"Unknown memory `{memory}`; wanted {', '.join(get_args(Memory))}.")
    return memory
