"""Networks as PyTorch modules: the whole family, on any device that PyTorch knows."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from birefnet.errors import ConfigError, DeviceError, require
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.base import Batch, Logits, check_batch, check_logits

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

DTYPES = ("auto", "float32", "bfloat16", "float16")


class TorchRuntime:
    """A BiRefNet (or any module that gives a `Prediction`) on one device, in one precision.

    In half precision a network may overflow on some picture. The run is then repeated in float32, and the network
    stays in float32 from then on, with a warning in the log.

    Args:
        model: moved to the device and put into evaluation mode; not copied.
        spec: the input it was trained for.
        name: what to call it.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto", "float32", "bfloat16" or "float16". Auto is float16 on CUDA and float32 elsewhere; half precision
            on a CPU is slower or no better, and float16 is refused there.
        dynamic: whether other sizes may be asked for than the spec's.

    Raises:
        DeviceError: if this machine has no such device.
        ConfigError: for an unknown dtype, or float16 on a CPU.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: InputSpec,
        *,
        name: str = "model",
        device: str = "auto",
        dtype: str = "auto",
        dynamic: bool = True,
    ) -> None:
        torch: Any = require("torch", "torch")
        self.name = name
        self.spec = spec
        self.dynamic = dynamic
        self.device = choose_device(device)
        self._torch = torch
        self._lock = threading.Lock()
        self._dtype = getattr(torch, choose_dtype(dtype, self.device))
        self._model = model.eval().to(device=self.device, dtype=self._dtype)

    @property
    def dtype(self) -> str:
        """The precision it runs in now: "float32", "bfloat16" or "float16"."""
        return str(self._dtype).removeprefix("torch.")

    def __call__(self, batch: Batch) -> Logits:
        """(B, 3, h, w) float32 normalised -> (B, 1, h, w) float32 logits; see `Runtime`."""
        check_batch(batch, self.spec, dynamic=self.dynamic)
        logits = self._run(batch)
        if self.dtype != "float32" and not np.isfinite(logits).all():
            self._widen()
            logits = self._run(batch)
        return check_logits(logits, batch, self.name)

    def _run(self, batch: Batch) -> Logits:
        torch = self._torch
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device, self._dtype)
            logits: Logits = self._model(tensor).logits.float().cpu().numpy()
        return logits

    def _widen(self) -> None:
        """Go over to float32 for good."""
        with self._lock:
            if self.dtype == "float32":
                return
            logger.warning("`%s` overflowed in %s; it runs in float32 from here on", self.name, self.dtype)
            self._model = self._model.float()
            self._dtype = self._torch.float32


def choose_device(device: str = "auto") -> str:
    """ "auto" -> the best device PyTorch has here (CUDA, then Apple's MPS, then the CPU); others are checked.

    Raises:
        DeviceError: if this machine has no such device, or the name is unknown.
        MissingExtra: if PyTorch is not installed.
    """
    torch: Any = require("torch", "torch")
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise DeviceError(f"Unknown device `{device}`; wanted auto, cpu, cuda, cuda:N or mps.")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= count:
        raise DeviceError(f"PyTorch {torch.__version__} sees no `{device}` here; `birefnet doctor` shows what it sees.")
    return device


def choose_dtype(dtype: str, device: str) -> str:
    """ "auto" -> the precision for a device; others are checked.

    Raises:
        ConfigError: for an unknown one, or float16 on a CPU.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"Unknown dtype `{dtype}`; wanted {', '.join(DTYPES)}.")
    if dtype == "auto":
        return "float16" if device.startswith("cuda") else "float32"
    if dtype == "float16" and device == "cpu":
        raise ConfigError("float16 is slower than float32 on a CPU and may overflow; take float32 or bfloat16.")
    return dtype
