"""Networks as TensorRT engines, or as ONNX files that TensorRT builds one from at the first opening.

Not tried on a GPU: the tests run it against a stand-in that records calls.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.devices import choose_device
from birefnet.errors import DeviceError, InputError, WeightsError, require
from birefnet.pixels.prepare import InputSpec
from birefnet.processes import PerProcess
from birefnet.runtimes import tensorrt_engine as engines
from birefnet.runtimes.base import Batch
from birefnet.runtimes.packed import PackedRuntime
from birefnet.runtimes.tensorrt_engine import INPUT, OUTPUT, Plan
from birefnet.weights.facts import read_facts, to_spec


class TensorRtRuntime(PackedRuntime):
    """A network in an `.engine` file that `birefnet export --to tensorrt` wrote, or in an ONNX file.

    Args:
        path: the file; see `tensorrt_engine` whom to trust.
        name: what to call it; None for the file's name.
        size: (width, height) to run at instead of the network's own; multiples of 32.
        device: "auto", "cuda" or "cuda:N".
        defaults: what to take where the file does not say.
        precision: of the engine built from an ONNX file, "fp32" or "fp16", as `birefnet export` calls them.

    Raises:
        WeightsError: if the file is missing, damaged or nothing TensorRT takes.
        DeviceError: where there is no NVIDIA GPU, or the engine was built for another, or by another TensorRT.
        MissingExtra: without TensorRT or PyTorch.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        size: tuple[int, int] | None = None,
        device: str = "auto",
        defaults: InputSpec | None = None,
        precision: str = "fp16",
    ) -> None:
        self._torch = require("torch", "torch")
        tensorrt = engines.library()
        super().__init__(Path(path), name)
        self.device = _device(device)
        if self.path.suffix.lower() == ".onnx":
            facts, plan, engine = _build(self.path, self.device, precision, defaults)
        else:
            facts, engine = engines.read_engine(self.path)
            plan = _check(tensorrt, facts, self.device, self.path)
        spec = to_spec(facts, self.path, defaults=defaults)
        fixed = None if plan.dynamic else (spec.width, spec.height)
        at_once = (plan.smallest[0], plan.largest[0])
        self._describe(facts, fixed=fixed, size=size, defaults=defaults, at_once=at_once)
        self._plan = plan
        self._lock = PerProcess(threading.Lock)
        # TensorRT forgets its logger and runtime unless someone holds them.
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        tensorrt.init_libnvinfer_plugins(self._logger, "")
        self._runtime = tensorrt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise WeightsError(f"`{self.path}` holds no engine that this TensorRT opens.")
        self._context = self._engine.create_execution_context()
        self._place = _place(self.device)
        self._stream = _make_stream(self._torch, self._place)

    def _check_more(self, batch: Batch) -> None:
        low, high = self._plan.smallest[2:], self._plan.largest[2:]
        for got, least, most in zip(batch.shape[2:], low, high, strict=True):
            if not least <= got <= most:
                height, width = batch.shape[2:]
                raise InputError(
                    f"The engine `{self.name}` takes sides of {least} to {most} pixels, got {width}x{height}."
                )

    def _infer(self, batch: Batch) -> NDArray[np.floating]:
        with self._lock(), _on(self._torch, self._stream):
            given = self._torch.from_numpy(np.ascontiguousarray(batch)).to(self._place)
            shape = (len(batch), 1, *batch.shape[2:])
            logits = self._torch.empty(shape, dtype=self._torch.float32, device=self._place)
            context = self._context
            done = context.set_input_shape(INPUT, tuple(batch.shape))
            done = done and context.set_tensor_address(INPUT, given.data_ptr())
            done = done and context.set_tensor_address(OUTPUT, logits.data_ptr())
            if not (done and context.execute_async_v3(_handle(self._stream))):
                raise WeightsError(f"TensorRT could not run `{self.name}` on {tuple(batch.shape)}.")
            return np.asarray(logits.cpu().numpy())  # waits for the stream


def _device(wanted: str) -> str:
    if wanted != "auto" and wanted.partition(":")[0] != "cuda":
        raise DeviceError(f"TensorRT runs on NVIDIA GPUs only, not on `{wanted}`.")
    engines.gpu_facts("cuda" if wanted == "auto" else wanted)  # says so where there is none
    return choose_device("cuda" if wanted == "auto" else wanted)


def _build(path: Path, device: str, precision: str, defaults: InputSpec | None) -> tuple[dict[str, Any], Plan, bytes]:
    """The facts of an ONNX file, and an engine from the cache or built now."""
    onnx = require("onnx", "export")
    if not path.is_file():
        raise WeightsError(f"There is no file `{path}`.")
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's exceptions have no common base but this
        raise WeightsError(f"`{path}` is damaged or no ONNX network.") from error
    ports = [[port.name for port in side] for side in (model.graph.input, model.graph.output)]
    if ports != [[INPUT], [OUTPUT]] or model.graph.input[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise WeightsError(
            f"`{path}` does not fit: TensorRT runs the ONNX files of `birefnet export`, with `{INPUT}` and `{OUTPUT}` "
            f"in float32; this one has {ports}."
        )
    facts = read_facts({entry.key: entry.value for entry in model.metadata_props}, path)
    if facts.get("activation") == "none":
        raise WeightsError(f"`{path}` gives the alpha itself; TensorRT here runs networks that give logits.")
    sides = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]  # 0 where they are free
    fixed = (sides[3], sides[2]) if sides[2] and sides[3] else None
    spec = to_spec(facts, path, defaults=defaults, fixed=fixed)
    plan = engines.make_plan(spec, dynamic=fixed is None, batch=sides[0] or None, precision=precision)
    facts["size"] = [spec.width, spec.height]
    return facts, plan, engines.engine_for(content, plan, device=device)


def _check(tensorrt: Any, facts: Mapping[str, Any], device: str, path: Path) -> Plan:
    """The plan of an engine that fits this machine."""
    try:
        stored = facts["plan"]
        shapes = {name: tuple(stored[name]) for name in ("smallest", "usual", "largest")}
        plan = Plan(**shapes, precision=stored["precision"])
    except (KeyError, TypeError) as error:
        raise WeightsError(f"`{path}` does not say what its engine was built for.") from error
    here = engines.engine_facts(tensorrt, device, plan)
    for name in ("gpu", "capability", "tensorrt"):
        if facts.get(name) != here[name]:
            raise DeviceError(
                f"`{path}` was built for {name} {facts.get(name)}, here it is {here[name]}; export it again here."
            )
    return plan


# What touches the GPU through PyTorch; the tests' stand-in puts a CPU in its place.


def _place(device: str) -> str:
    """Where PyTorch keeps the tensors."""
    return device


def _make_stream(torch: Any, place: str) -> Any:
    return torch.cuda.Stream(place)


def _on(torch: Any, stream: Any) -> AbstractContextManager[Any]:
    context: AbstractContextManager[Any] = torch.cuda.stream(stream)
    return context


def _handle(stream: Any) -> int:
    return int(stream.cuda_stream)
