"""Networks in OpenVINO's own files (.xml with .bin) and in ONNX files, run by OpenVINO.

What its many settings should be is found out here: threads on physical cores, one stream for the shortest time,
bfloat16 where the processor computes with it, compiled networks kept for the next start.
"""

from __future__ import annotations

import logging
import os
import queue
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from birefnet.cpus import default_threads
from birefnet.devices import parse_device
from birefnet.errors import ConfigError, DeviceError, WeightsError, require
from birefnet.memory import ran_out
from birefnet.pixels.prepare import InputSpec
from birefnet.processes import PerProcess
from birefnet.runtimes import machine
from birefnet.runtimes.base import Batch
from birefnet.runtimes.packed import OUTPUTS, PackedRuntime
from birefnet.runtimes.signal_stack import signal_stack_kept
from birefnet.weights.facts import read_facts
from birefnet.weights.formats import FORMATS

if TYPE_CHECKING:
    from openvino import CompiledModel, ConstOutput, Core, InferRequest, Model, Output

logger = logging.getLogger(__name__)

Mode = Literal["latency", "throughput"]
Dtype = Literal["auto", "float32", "bfloat16"]

FACTS = "birefnet"  # where an .xml file holds what it says of itself
FILE = FORMATS["openvino"].mark  # of a network in a folder
_ONNX_FACTS = "framework"  # where OpenVINO puts the metadata of an ONNX file
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_STAMP = 0x7F  # of every byte: near the largest of float32, not a number in float16
_TYPES = {"f32": np.float32, "f16": np.float16}


class OpenVinoRuntime(PackedRuntime):
    """A network in a pair of files `.xml` and `.bin`, in a folder with such a pair, or in an `.onnx` file.

    Args:
        path: the .xml or .onnx file, or the folder.
        name: what to call it; None for the file's name.
        size: (width, height) to run at instead of the network's own; multiples of 32.
        device: "auto" (the processor), "cpu", or as OpenVINO names them: "gpu", "gpu.1", "npu", in any case.
        threads: CPU threads; None for `birefnet.cpus.default_threads()`.
        defaults: the input, where the file does not say.
        mode: "latency" runs one picture at a time with all threads; "throughput" as many as OpenVINO thinks best, and
            not in processes that are forked later.
        dtype: of the computation. "auto" is bfloat16 where the processor has instructions for it, else float32;
            devices other than "cpu" choose themselves.
        cache: keep the compiled network in the package's cache folder: quicker to start, at the price of disk space.

    Raises:
        WeightsError: if the file is missing, damaged or has other inputs or outputs.
        DeviceError: if the device is not available.
        ConfigError: for an unknown mode or dtype.
        MissingExtra: without openvino.
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
        mode: Mode = "latency",
        dtype: Dtype = "auto",
        cache: bool = False,
    ) -> None:
        given = Path(path)
        super().__init__(given / FILE if given.is_dir() else given, name or given.stem)
        openvino = require("openvino", "openvino")
        with signal_stack_kept():
            core = openvino.Core()
            hardware, self.device = choose_device(core.available_devices, device)
            self.dtype = choose_dtype(dtype, self.device)
            settings = make_settings(self.device, mode, self.dtype, threads, cache=cache)
            model = _read(core, self.path)
            facts = read_facts(read_metadata(model), self.path)
            output = _check_ports(model, self.path)
            self._compiled = _compile(core, model, hardware, settings, self.path)
        shape = model.inputs[0].get_partial_shape()
        del model
        self._type = _TYPES[self._compiled.inputs[0].get_element_type().get_type_name()]
        self._output = self._compiled.outputs[output]
        free = shape[2].is_dynamic or shape[3].is_dynamic
        fixed = None if free else (shape[3].get_length(), shape[2].get_length())
        at_once = (shape[0].get_length(),) * 2 if shape[0].is_static else (1, None)
        self._describe(facts, fixed=fixed, size=size, defaults=defaults, at_once=at_once)
        self._requests = PerProcess(lambda: _make_requests(self._compiled, mode))
        self._process = os.getpid() if mode == "throughput" else None

    def _check_more(self, batch: Batch) -> None:
        if self._process not in (None, os.getpid()):
            raise DeviceError(
                f"`{self.name}` was loaded before this process was forked; its streams of OpenVINO are not here.",
                hint='load it in the process that uses it, or start processes by the method "spawn"',
            )

    def _infer(self, batch: Batch) -> NDArray[np.floating]:
        requests = self._requests()
        request = requests.get()  # a request's memory is large: callers wait for one instead of making another
        try:
            _stamp(request, self._output)
            request.infer([np.ascontiguousarray(batch, self._type)], share_inputs=True)
            output = np.array(request.get_tensor(self._output).data)
        except RuntimeError as error:
            if ran_out(error):
                raise
            raise WeightsError(f"OpenVINO could not run `{self.name}`: {_said(error)}") from error
        finally:
            requests.put(request)
        if _is_stale(output):
            raise MemoryError("OpenVINO gave no result, and no error")
        return output


def _stamp(request: InferRequest, output: ConstOutput) -> None:
    """Write into the place of the result what no network gives.

    OpenVINO keeps the last picture's result where memory runs out (seen in 2026.4), and says nothing.
    """
    request.get_tensor(output).data.view(np.uint8)[...] = _STAMP


def _is_stale(output: NDArray[np.floating]) -> bool:
    """Whether nothing was written since the stamp."""
    return bool((output.view(np.uint8) == _STAMP).all())


def choose_device(available: list[str], device: str) -> tuple[str, str]:
    """A device's name for OpenVINO and for us: ("GPU.1", "gpu.1").

    Raises:
        DeviceError: if OpenVINO has no such device here.
    """
    kind, index = ("cpu", None) if device == "auto" else parse_device(device, ("cpu", "gpu", "npu"))
    wanted = kind.upper() if index is None else f"{kind.upper()}.{index}"
    if wanted in available or f"{wanted}.0" in available:
        return wanted, wanted.lower()
    known = ", ".join(name.lower() for name in available) or "none"
    raise DeviceError(f"OpenVINO has no device `{device}` here; it has: {known}.")


def choose_dtype(dtype: str, device: str) -> str:
    """ "auto" -> "float32" or "bfloat16" on the processor; on other devices it stays "auto", which is theirs to choose.

    Raises:
        ConfigError: for an unknown one.
    """
    if dtype not in get_args(Dtype):
        raise ConfigError(f"Unknown dtype `{dtype}`; wanted {', '.join(get_args(Dtype))}.")
    if dtype != "auto" or device != "cpu":
        return dtype
    return "bfloat16" if machine.computes_in_bfloat16() else "float32"


def make_settings(device: str, mode: str, dtype: str, threads: int | None, *, cache: bool) -> dict[str, Any]:
    """OpenVINO's settings for this machine.

    Raises:
        ConfigError: for an unknown mode.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"Unknown mode `{mode}`; wanted {', '.join(get_args(Mode))}.")
    settings: dict[str, Any] = {"PERFORMANCE_HINT": mode.upper()}
    if dtype in _HINTS:
        settings["INFERENCE_PRECISION_HINT"] = _HINTS[dtype]
    if device == "cpu":
        settings["INFERENCE_NUM_THREADS"] = threads or default_threads()
        settings |= {"NUM_STREAMS": 1} if mode == "latency" else {}
    if cache:
        from birefnet.cache import cache_folder

        folder = cache_folder() / "openvino"
        folder.mkdir(parents=True, exist_ok=True)
        settings["CACHE_DIR"] = str(folder)
    return settings


def read_metadata(model: Model) -> dict[str, str]:
    """What a file says of itself, every value as text; of .xml files our own entries, of ONNX files all."""
    for home in (FACTS, _ONNX_FACTS):
        if model.has_rt_info(home):
            found = model.get_rt_info(home).value
            return {key: _text(value) for key, value in found.items()} if isinstance(found, dict) else {}
    return {}


def _text(value: object) -> str:
    return str(getattr(value, "value", value))


def _read(core: Core, path: Path) -> Model:
    try:
        if path.suffix.lower() == ".onnx":
            from birefnet.runtimes.openvino_graph import read_onnx

            return read_onnx(core, path)
        if not path.with_suffix(".bin").is_file():
            raise WeightsError(f"`{path}` has no `{path.stem}.bin` beside it, which holds its weights.")
        return core.read_model(path)
    except RuntimeError as error:
        if ran_out(error):
            raise
        raise WeightsError(f"`{path}` is damaged or no network that OpenVINO reads: {_said(error)}") from error


def _check_ports(model: Model, path: Path) -> int:
    """The index of the output that holds the final map; the one input must be (N, 3, h, w) of floats."""
    inputs = model.inputs
    shape = inputs[0].get_partial_shape() if len(inputs) == 1 else None
    if (
        shape is None
        or shape.rank.is_dynamic
        or len(shape) != 4
        or not (shape[1].is_dynamic or shape[1].get_length() == 3)
        or _type_of(inputs[0]) not in _TYPES
    ):
        found = ", ".join(f"{_type_of(port)} {port.get_partial_shape()}" for port in inputs)
        raise WeightsError(f"`{path}` does not fit: wanted one input (N, 3, h, w) of floats, got {found}.")
    names = [next(iter(port.get_names()), "") for port in model.outputs]
    known = [index for index, name in enumerate(names) if name in OUTPUTS] or list(range(len(names)))
    if len(known) != 1:
        raise WeightsError(f"`{path}` has {len(names)} outputs ({', '.join(names)}); none is named `logits`.")
    return known[0]


def _type_of(port: Output) -> str:
    return str(port.get_element_type().get_type_name())


def _compile(core: Core, model: Model, hardware: str, settings: dict[str, Any], path: Path) -> CompiledModel:
    try:
        return core.compile_model(model, hardware, settings)
    except RuntimeError as error:
        if ran_out(error):
            raise
        raise WeightsError(f"OpenVINO cannot make `{path}` run on `{hardware.lower()}`: {_said(error)}") from error


def _make_requests(compiled: CompiledModel, mode: str) -> queue.Queue[InferRequest]:
    """As many as run at once, for callers to take and give back."""
    count = 1 if mode == "latency" else max(1, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
    requests: queue.Queue[InferRequest] = queue.Queue()
    for _ in range(count):
        requests.put(compiled.create_infer_request())
    return requests


def _said(error: BaseException) -> str:
    """The last line of what OpenVINO says, which is the cause; the others are places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
