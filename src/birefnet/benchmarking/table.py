"""The table of what can be measured: a runtime, what it needs, and how it is made. A new runtime is a row."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

YARDSTICK = "eager"  # in fp32: what every other row's alpha is compared with


class Way(NamedTuple):
    """One row: a way to run a network.

    Attributes:
        help: what it is, in a few words.
        needs: (module, extra) of the libraries without which it cannot be.
        precisions: those it knows; in upper case those that are measured unless others are asked for.
        make: "module:function" that makes the runtime of a `Job`.
        export: "module:function" that writes the file it runs; "" if it runs the weights themselves.
        suffix: of that file, or of that folder.
        deform: the form of deformable convolutions in that file.
        usual: whether it is measured unless runtimes are named.
    """

    help: str
    needs: tuple[tuple[str, str], ...]
    precisions: tuple[str, ...]
    make: str
    export: str = ""
    suffix: str = ""
    deform: str = "native"
    usual: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """The precisions as they are named."""
        return tuple(name.lower() for name in self.precisions)

    @property
    def default(self) -> tuple[str, ...]:
        """The precisions that are measured unless others are asked for."""
        return tuple(name.lower() for name in self.precisions if name.isupper())


_TORCH = (("torch", "torch"),)
_ONNX = (("torch", "torch"), ("onnx", "export"), ("onnxscript", "export"), ("onnxruntime", "export"))
_MAKERS = "birefnet.benchmarking.makers"

WAYS = {
    YARDSTICK: Way("the network as written, PyTorch", _TORCH, ("FP32", "bf16", "fp16"), f"{_MAKERS}:eager"),
    "torch": Way(
        "the same function with fewer operations, PyTorch",
        _TORCH,
        ("FP32", "BF16", "fp16"),
        f"{_MAKERS}:torch",
        usual=True,
    ),
    "compiled": Way("the same through torch.compile", _TORCH, ("FP32", "BF16", "fp16"), f"{_MAKERS}:compiled"),
    "graphs": Way("the same as CUDA graphs", _TORCH, ("fp32", "bf16", "FP16"), f"{_MAKERS}:graphs"),
    "onnx": Way(
        "ONNX Runtime",
        _ONNX,
        ("FP32", "FP16", "int8wo", "int8"),
        f"{_MAKERS}:onnx",
        "birefnet.export.onnx:export_onnx",
        ".onnx",
        usual=True,
    ),
    "onnx-decomposed": Way(
        "ONNX Runtime, common operators only",
        _ONNX,
        ("FP32", "fp16", "int8wo", "int8"),
        f"{_MAKERS}:onnx",
        "birefnet.export.onnx:export_onnx",
        ".onnx",
        "decomposed",
    ),
    "openvino": Way(
        "OpenVINO",
        (*_ONNX[:3], ("openvino", "openvino")),
        ("FP32", "BF16", "FP16", "int8wo", "int8"),
        f"{_MAKERS}:openvino",
        "birefnet.export.openvino:export_openvino",
        "-openvino",
        usual=True,
    ),
    "package": Way(
        "torch.export package, compiled by AOTInductor",
        _TORCH,
        ("FP32", "fp16"),
        f"{_MAKERS}:package",
        "birefnet.export.aoti:export_package",
        ".pt2",
    ),
    "tensorrt": Way(
        "TensorRT",
        (*_ONNX[:3], ("tensorrt", "export")),
        ("FP32", "FP16"),
        f"{_MAKERS}:tensorrt",
        "birefnet.export.tensorrt:export_tensorrt",
        ".engine",
    ),
}


def missing(way: Way) -> str:
    """Why a way cannot be gone here, for want of a library; "" if nothing is missing."""
    for module, extra in way.needs:
        if find_spec(module) is None:
            return f"needs `{module}`: pip install 'birefnet[{extra}]'"
    return ""


def stored(precision: str) -> str:
    """The precision of the file for a row: computing in bfloat16 is a setting of the runtime, not of the file."""
    return "fp16" if precision == "bf16" else precision
