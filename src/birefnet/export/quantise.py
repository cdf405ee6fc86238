"""Static 8-bit quantisation of an ONNX graph: weights and activations, with ranges found on pictures.

ONNX Runtime's tool inserts pairs of QuantizeLinear and DequantizeLinear, which every runtime with 8-bit kernels
understands. What suffers from 8 bits stays in float: the network's last layers, whose errors nothing mends, and the
convolutions that tell deformable ones where to look.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.libraries import load

_QUANTISED = ("Conv", "MatMul", "Gemm")  # where the work is; all else is computed in float
_LAST = 3  # layers before the output that stay in float
_PASSING = ("Cast", "Mul", "Sigmoid", "Slice", "Split", "Transpose", "Reshape", "Add", "Concat", "Squeeze", "Unsqueeze")


class _Reader:
    """What the tool asks for pictures."""

    def __init__(self, pictures: Iterable[NDArray[np.float32]], name: str) -> None:
        self._pictures: Iterator[NDArray[np.float32]] = iter(pictures)
        self._name = name

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {self._name: picture}


def quantise(model: Any, pictures: Iterable[NDArray[np.float32]]) -> Any:
    """A float32 model -> one whose convolutions and matrix products take 8-bit values and weights.

    Args:
        model: an `onnx.ModelProto` with one input; below 2 GiB.
        pictures: normalised, (1, 3, H, W) each, as the network will see them.

    Returns:
        An `onnx.ModelProto`; weights have a scale per output, activations one per tensor.
    """
    onnx: Any = require("onnx", "export")
    tool: Any = load("onnxruntime.quantization")

    kept = sorted(float_nodes(model.graph))
    with tempfile.TemporaryDirectory() as folder, _silent():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model.SerializeToString())
        tool.quantize_static(
            source,
            target,
            _Reader(pictures, model.graph.input[0].name),
            quant_format=tool.QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
            calibrate_method=tool.CalibrationMethod.MinMax,
        )
        return onnx.load(target)


def float_nodes(graph: Any) -> frozenset[str]:
    """The names of the nodes that stay in float: the last layers, and those that deformable convolutions ask."""
    makers = {name: node for node in graph.node for name in node.output}
    weights = {one.name for one in graph.initializer}
    kept = set(last_layers(graph, makers))
    for node in graph.node:
        if node.op_type == "DeformConv":
            for value in (node.input[2], *node.input[4:5]):  # offsets and mask
                kept |= set(_layers_before(value, makers))
        elif node.op_type == "Slice" and node.name.startswith("deform"):  # offsets, decomposed
            kept |= set(_layers_before(node.input[0], makers))
        elif node.op_type == "MatMul" and not weights & set(node.input):
            kept.add(node.name)  # attention: products of two activations
        elif node.name.startswith("deform"):
            kept.add(node.name)  # decomposed: samples, whose ranges are those of the map, times weights
    return frozenset(kept)


def last_layers(graph: Any, makers: dict[str, Any]) -> list[str]:
    """The names of the layers nearest to the output, going back from it breadth first."""
    found: list[str] = []
    seen: set[str] = set()
    front = [graph.output[0].name]
    while front and len(found) < _LAST:
        node = makers.get(front.pop(0))
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type in _QUANTISED:
            found.append(node.name)
        front += node.input
    return found


def _layers_before(value: str, makers: dict[str, Any]) -> Iterator[str]:
    """The names of the layers that a value is made of by nothing but rearranging and simple arithmetic."""
    node = makers.get(value)
    if node is None:
        return
    if node.op_type in _QUANTISED:
        yield node.name
    elif node.op_type in _PASSING:
        for name in node.input:
            yield from _layers_before(name, makers)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The tool prints advice and logs warnings to the root logger, none of which is for a user of ours."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
