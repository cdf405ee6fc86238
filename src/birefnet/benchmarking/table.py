"""The table of what can be measured: a runtime, what it needs, and how it is made. A new runtime is a row."""

from __future__ import annotations

from typing import NamedTuple

from birefnet.weights.formats import FORMATS, RUNTIMES

REFERENCE = "eager"  # in fp32: what every other row's alpha is compared with


class Backend(NamedTuple):
    """One row: a way to run a network. Who makes it stands in `birefnet.benchmarking.makers`, a row for each name.

    Attributes:
        help: what it is, in a few words.
        runtime: what runs it, a name of `birefnet.weights.formats.RUNTIMES`.
        precisions: those it knows; in upper case those that are measured unless others are asked for.
        format: of the file that is exported for it, a name of `FORMATS`; "" if it runs the weights themselves.
        deform: the form of deformable convolutions in that file.
        usual: whether it is measured unless runtimes are named.
    """

    help: str
    runtime: str
    precisions: tuple[str, ...]
    format: str = ""
    deform: str = "native"
    usual: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """The precisions as they are named."""
        return tuple(name.lower() for name in self.precisions)

    @property
    def suffix(self) -> str:
        """Of its file; for OpenVINO's two files, of a folder."""
        row = FORMATS.get(self.format)
        if row is None:
            return ""
        return f"-{self.format}" if row.second or not row.suffixes else row.suffixes[0]

    @property
    def default(self) -> tuple[str, ...]:
        """The precisions that are measured unless others are asked for."""
        return tuple(name.lower() for name in self.precisions if name.isupper())


BACKENDS = {
    REFERENCE: Backend("the network as written, PyTorch", "torch", ("FP32", "bf16", "fp16")),
    "torch": Backend("the same function with fewer operations, PyTorch", "torch", ("FP32", "BF16", "fp16"), usual=True),
    "compiled": Backend("the same through torch.compile", "torch", ("FP32", "BF16", "fp16")),
    "graphs": Backend("the same as CUDA graphs", "torch", ("fp32", "bf16", "FP16")),
    "onnx": Backend("ONNX Runtime", "onnx", ("FP32", "FP16", "int8wo", "int8"), "onnx", usual=True),
    "onnx-decomposed": Backend(
        "ONNX Runtime, common operators only", "onnx", ("FP32", "fp16", "int8wo", "int8"), "onnx", "decomposed"
    ),
    "openvino": Backend("OpenVINO", "openvino", ("FP32", "BF16", "FP16", "int8wo", "int8"), "openvino", usual=True),
    "package": Backend("a package compiled by AOTInductor, PyTorch", "package", ("FP32", "fp16"), "package"),
    "tensorrt": Backend("TensorRT", "tensorrt", ("FP32", "FP16"), "tensorrt"),
}


def missing(backend: Backend) -> str:
    """Which library a backend lacks here, and how to get it; "" if nothing is missing."""
    writing = FORMATS[backend.format].needs if backend.format else ()
    return next((library.missing for library in (*writing, RUNTIMES[backend.runtime]) if library.missing), "")


def stored(precision: str) -> str:
    """The precision of the file for a row: computing in bfloat16 is a setting of the runtime, not of the file."""
    return "fp16" if precision == "bf16" else precision
