"""A stand-in for the module `tensorrt` that records calls; its engines are ONNX models, run by ONNX Runtime on a CPU.

It knows what our code uses and nothing more, so it shows that the calls fit together, not that TensorRT works.
"""

from __future__ import annotations

import ctypes
import pickle
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

Calls = list[tuple[Any, ...]]


def make(version: str = "10.3.0", *, error: str | None = None) -> Any:
    """The module; `calls` lists what was done. With `error`, its parser takes no model and says so."""
    calls: Calls = []
    module = ModuleType("tensorrt")
    module.__spec__ = ModuleSpec("tensorrt", loader=None)  # PyTorch's exporter looks for it
    module.__dict__.update(
        __version__=version,
        calls=calls,
        Logger=_Logger,
        BuilderFlag=SimpleNamespace(FP16="FP16", TF32="TF32"),
        init_libnvinfer_plugins=lambda logger, space: calls.append(("plugins", space)),
        Builder=lambda logger: _Builder(calls),
        OnnxParser=lambda network, logger: _Parser(network, error),
        Runtime=lambda logger: _Runtime(calls),
    )
    return module


class _Logger:
    ERROR = "ERROR"

    def __init__(self, level: str) -> None:
        assert level == self.ERROR


class _Parser:
    def __init__(self, network: dict[str, bytes], error: str | None) -> None:
        self.network, self.error = network, error
        self.num_errors = 0 if error is None else 1

    def parse(self, model: bytes) -> bool:
        self.network["model"] = model
        return self.error is None

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: self.error)


class _Builder:
    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def create_network(self, flags: int) -> dict[str, bytes]:
        assert flags == 0
        return {}

    def create_builder_config(self) -> Any:
        return SimpleNamespace(
            set_flag=lambda flag: self.calls.append(("set", flag)),
            clear_flag=lambda flag: self.calls.append(("clear", flag)),
            add_optimization_profile=lambda profile: None,
        )

    def create_optimization_profile(self) -> Any:
        return SimpleNamespace(set_shape=lambda *shapes: self.calls.append(("profile", *shapes)))

    def build_serialized_network(self, network: dict[str, bytes], config: Any) -> bytes:
        self.calls.append(("build",))
        return pickle.dumps(network["model"])


class _Runtime:
    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        try:
            model = pickle.loads(plan)
        except pickle.UnpicklingError:
            return None
        return SimpleNamespace(create_execution_context=lambda: _Context(model, self.calls))


class _Context:
    def __init__(self, model: bytes, calls: Calls) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.calls = calls
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "input_image"
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.calls.append(("execute", self.shape))
        given = self._array("input_image", self.shape)
        (logits,) = self.session.run(["logits"], {"input_image": given})
        self._array("logits", logits.shape)[...] = logits
        return True

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        memory = (ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[name])
        return np.frombuffer(memory, np.float32).reshape(shape)
