"""How a model is to run: one record for `Remover`, `select`, the server and the command line, checked at birth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar, get_args

from birefnet.devices import parse_device
from birefnet.errors import ConfigError, did_you_mean
from birefnet.runtimes.base import Memory, Mode

RuntimeName = Literal["auto", "torch", "onnx", "openvino", "tensorrt", "package"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

DEVICES = ("cpu", "cuda", "mps", "gpu", "npu")  # the last two are OpenVINO's
_Word = TypeVar("_Word")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How a model is to run.

    Attributes:
        runtime: "auto", or which library runs the model: "torch", "onnx", "openvino", "tensorrt" or "package".
        device: "auto", "cpu", "cuda", "cuda:1" or "mps"; for OpenVINO also "gpu", "gpu.1" or "npu".
        dtype: what it computes in: "auto", "float32", "bfloat16" or "float16"; only PyTorch and OpenVINO leave a
            choice.
        mode: "eager", or for PyTorch "compiled" or "graphs"; see `birefnet.runtimes.torch.TorchRuntime`.
        memory: "normal", or "low" for PyTorch and ONNX Runtime: slower, and memory goes back to the system.
        threads: CPU threads; None for what the runtime takes by itself: the physical cores this process may use (or
            `OMP_NUM_THREADS`), and in PyTorch as many as PyTorch is set to. PyTorch has one number for the process, so
            it is set for the length of each run only.
        offline: never download.

    Raises:
        ConfigError: for a word that is none of these, or a number of threads below 1.
        DeviceError: for a device of no known kind. Whether this machine has it is found out when a model is loaded.
    """

    runtime: RuntimeName = "auto"
    device: str = "auto"
    dtype: Dtype = "auto"
    mode: Mode = "eager"
    memory: Memory = "normal"
    threads: int | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        check_word("runtime", self.runtime, get_args(RuntimeName))
        check_word("dtype", self.dtype, get_args(Dtype))
        check_word("mode", self.mode, get_args(Mode))
        check_word("memory", self.memory, get_args(Memory))
        if self.device != "auto":
            parse_device(self.device, DEVICES)
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ConfigError(f"`threads` is a whole number of 1 or more, or None, got {self.threads!r}.")
        if not isinstance(self.offline, bool):
            raise ConfigError(f"`offline` is True or False, got {self.offline!r}.")

    @classmethod
    def parse(
        cls,
        *,
        runtime: str = "auto",
        device: str = "auto",
        dtype: str = "auto",
        mode: str = "eager",
        memory: str = "normal",
        threads: int | None = None,
        offline: bool = False,
    ) -> Self:
        """The same of plain text, as a command line has it; see the class for the errors."""
        return cls(
            runtime=check_word("runtime", runtime, get_args(RuntimeName)),
            device=device,
            dtype=check_word("dtype", dtype, get_args(Dtype)),
            mode=check_word("mode", mode, get_args(Mode)),
            memory=check_word("memory", memory, get_args(Memory)),
            threads=threads,
            offline=offline,
        )

    def on(self, device: str) -> Self:
        """The same on another device."""
        return replace(self, device=device)


def check_word(what: str, word: str, known: Sequence[_Word]) -> _Word:
    """Give back the one of `known` that `word` is.

    Raises:
        ConfigError: if it is none of them, with the nearest that is.
    """
    for one in known:
        if one == word:
            return one
    words = [str(one) for one in known]
    raise ConfigError(f"Unknown {what} `{word}`; wanted {', '.join(words)}.", hint=did_you_mean(str(word), words))
