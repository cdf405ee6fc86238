"""The formats that `birefnet export` knows, one row each."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from birefnet.errors import ConfigError

if TYPE_CHECKING:
    from birefnet.export.proof import Proof


class Target(NamedTuple):
    """One row of the table: a format, who writes it, and what can be asked of it."""

    home: str  # module:function
    suffix: str  # "" for a folder
    precisions: tuple[str, ...]
    help: str
    second: str = ""  # suffix of a file that is written beside it; a name without suffix is a folder for both


TARGETS = {
    "onnx": Target(
        "birefnet.export.onnx:export_onnx",
        ".onnx",
        ("fp32", "fp16", "int8", "int8wo"),
        "ONNX Runtime, and whatever else reads ONNX",
    ),
    "openvino": Target(
        "birefnet.export.openvino:export_openvino",
        ".xml",
        ("fp32", "fp16", "int8", "int8wo"),
        "OpenVINO, for Intel processors",
        second=".bin",
    ),
    "tensorrt": Target(
        "birefnet.export.tensorrt:export_tensorrt", ".engine", ("fp32", "fp16"), "TensorRT, for one kind of NVIDIA GPU"
    ),
    "torch": Target(
        "birefnet.export.aoti:export_torch",
        ".pt2",
        ("fp32", "fp16"),
        "a compiled package that PyTorch runs without our code",
    ),
    "web": Target(
        "birefnet.export.web:export_web",
        "",
        ("fp32", "fp16", "int8wo"),
        "a folder for browsers: our page, or transformers.js",
    ),
    "gguf": Target("birefnet.export.gguf:export_gguf", ".gguf", ("fp32", "fp16"), "vision.cpp"),
}


def find_target(name: str, precision: str) -> Target:
    """The row of a format that knows the precision.

    Raises:
        ConfigError: if there is no such format (with the nearest), or it has no such precision.
    """
    if name not in TARGETS:
        near = difflib.get_close_matches(name.lower(), TARGETS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"There is no format `{name}`; known: {', '.join(TARGETS)}{hint}")
    target = TARGETS[name]
    if precision not in target.precisions:
        raise ConfigError(f"{name} has no precision `{precision}`; choose one of {', '.join(target.precisions)}")
    return target


def writer_of(target: Target) -> Callable[..., Proof]:
    """The function that writes a format; its libraries are imported only now."""
    module, _, name = target.home.partition(":")
    function: Callable[..., Proof] = getattr(importlib.import_module(module), name)
    return function
