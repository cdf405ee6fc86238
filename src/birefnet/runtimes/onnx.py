"""Networks in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.cpus import default_threads
from birefnet.devices import parse_device
from birefnet.errors import DeviceError, MissingExtra, WeightsError, first_line
from birefnet.libraries import load_onnxruntime
from birefnet.memory import ran_out
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.base import Batch
from birefnet.runtimes.packed import OUTPUTS, PackedRuntime
from birefnet.weights.facts import read_facts

logger = logging.getLogger(__name__)

PROVIDERS = {  # device -> ONNX Runtime's name for it
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}
_NO_KERNEL = re.compile(r"(?:Could not find an implementation for|Failed to find kernel for) (\w+)\(\d+\)")
_WAYS_OUT = {"DeformConv": "; export it with `--deform decomposed`, which needs only common operators"}
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxRuntime(PackedRuntime):
    """A network in an `.onnx` file.

    The file has one input (N, 3, h, w), float32 or float16, and an output (N, 1, h, w). What its `metadata_props` may
    hold is told in `birefnet.weights.facts`; without them the released models' facts are taken: ImageNet mean and
    std, logits.

    Args:
        path: the file.
        name: what to call it; None for the file's name.
        size: (width, height) to run at instead of the network's own; multiples of 32.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for a GPU that this ONNX Runtime supports, else the CPU.
        threads: CPU threads; None for `birefnet.cpus.default_threads()`.
        defaults: what to take where the file does not say.
        keep_memory: keep what one run needed for the next. Without, each run on a CPU is slower by half, and memory is
            given back after it.

    Raises:
        WeightsError: if the file is missing, damaged or has other inputs or outputs.
        DeviceError: if the device is not available.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        size: tuple[int, int] | None = None,
        device: str = "auto",
        threads: int | None = None,
        defaults: InputSpec | None = None,
        keep_memory: bool = True,
    ) -> None:
        super().__init__(Path(path), name)
        library = _library()
        providers, self.device = _providers(library, device)
        self._session = _open(library, self.path, providers, threads or default_threads(), keep_memory)
        self._check_device(device)
        self._input, self._output = self._check_ports()
        self._type = _TYPES[self._input.type]
        facts = read_facts(self._session.get_modelmeta().custom_metadata_map, self.path)
        batch, _, height, width = self._input.shape
        fixed = (width, height) if isinstance(height, int) and isinstance(width, int) else None
        at_once = (batch, batch) if isinstance(batch, int) else (1, None)
        self._describe(facts, fixed=fixed, size=size, defaults=defaults, at_once=at_once)

    def _infer(self, batch: Batch) -> NDArray[np.floating]:
        feed = {self._input.name: batch.astype(self._type, copy=False)}
        try:
            (output,) = self._session.run([self._output], feed)
        except Exception as error:  # the library's exceptions have no common base but this
            if ran_out(error):
                raise
            raise WeightsError(f"ONNX Runtime could not run `{self.name}`: {first_line(error)}") from error
        return np.asarray(output)

    def _check_device(self, wanted: str) -> None:
        """ONNX Runtime takes the CPU where a GPU's libraries do not load, and only prints so."""
        used = self._session.get_providers()[0]
        if used == PROVIDERS[self.device.partition(":")[0]]:
            return
        if wanted != "auto":
            raise DeviceError(f"ONNX Runtime could not start on `{wanted}`; `birefnet doctor` shows what is there.")
        logger.warning("ONNX Runtime could not start on `%s`, so the CPU is used; see `birefnet doctor`", self.device)
        self.device = "cpu"

    def _check_ports(self) -> tuple[Any, str]:
        """The one input, and the name of the output that holds the final map."""
        inputs, outputs = self._session.get_inputs(), [port.name for port in self._session.get_outputs()]
        shape = inputs[0].shape if len(inputs) == 1 else None
        if shape is None or len(shape) != 4 or shape[1] not in (3, None) or inputs[0].type not in _TYPES:
            found = ", ".join(f"{port.name} {port.type} {port.shape}" for port in inputs)
            raise WeightsError(f"`{self.path}` does not fit: wanted one input (N, 3, h, w) of floats, got {found}.")
        known = [name for name in OUTPUTS if name in outputs] or outputs
        if len(known) != 1:
            names = ", ".join(outputs)
            raise WeightsError(f"`{self.path}` has {len(outputs)} outputs ({names}); none is named `logits`.")
        return inputs[0], known[0]


def _library() -> Any:
    """ONNX Runtime; it is no extra, but a user may have taken it away, or broken it with a second one."""
    try:
        return load_onnxruntime()
    except ImportError as error:
        raise MissingExtra(f"ONNX Runtime does not load ({error}); install it with: pip install onnxruntime") from error


def _providers(library: Any, device: str) -> tuple[list[Any], str]:
    """The providers to ask for, best first, and the device that the first one is."""
    available = library.get_available_providers()
    if device == "auto":
        device = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    kind, index = parse_device(device, tuple(PROVIDERS))
    if PROVIDERS[kind] not in available:
        there = ", ".join(name for name, provider in PROVIDERS.items() if provider in available)
        hint = "install onnxruntime-gpu in place of onnxruntime" if kind == "cuda" else None
        raise DeviceError(f"This ONNX Runtime ({library.__version__}) has no `{kind}`; it has: {there}.", hint=hint)
    if kind == "cpu":
        return [PROVIDERS["cpu"]], "cpu"
    options = {} if index is None else {"device_id": index}
    return [(PROVIDERS[kind], options), PROVIDERS["cpu"]], device


def _open(library: Any, path: Path, providers: list[Any], threads: int, keep_memory: bool) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; they are raised as well
    # Patterns of memory are laid out for the whole network at once: measured a third more peak memory, no faster.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = keep_memory
    # Idle threads sleep instead of spinning: other work of this machine, ours too, goes on between two pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return library.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # the library's exceptions have no common base but this
        if ran_out(error):
            raise
        if (lacking := _lacking(error)) is not None:
            raise DeviceError(
                f"This ONNX Runtime ({library.__version__}) has no {lacking} for the device asked for, which `{path}` "
                f"needs{_WAYS_OUT.get(lacking, '')}; a newer ONNX Runtime may have it: pip install -U onnxruntime"
            ) from error
        raise WeightsError(f"`{path}` is damaged or no ONNX network: {first_line(error)}") from error


def _lacking(error: BaseException) -> str | None:
    """The operator that ONNX Runtime knows but cannot compute, if that is what it says."""
    found = _NO_KERNEL.search(str(error))
    return found[1] if found else None
