"""How much a graph holds at once: what a browser's page needs besides the weights."""

from __future__ import annotations

import math
from typing import Any

from birefnet.errors import require


def peak_activations(model: Any) -> int:
    """Bytes of the values between layers that exist at once, at most, when the nodes run in the graph's order.

    A value lives from the node that makes it to the last that reads it. What a kernel takes for itself while it runs
    is not known here. Values of unknown shape count nothing.
    """
    onnx: Any = require("onnx", "export")
    sizes = _sizes(onnx.shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph)
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input}
    outputs = {one.name for one in model.graph.output}
    alive = sum(sizes.get(one.name, 0) for one in model.graph.input)
    peak = alive
    for place, node in enumerate(model.graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, alive)
        done = {name for name in (*node.input, *node.output) if last.get(name, -1) <= place} - outputs
        alive -= sum(sizes.get(name, 0) for name in done)
    return peak


def _without_weights(model: Any) -> Any:
    """A copy whose large weights are inputs: shapes are found without carrying hundreds of megabytes along."""
    onnx: Any = require("onnx", "export")
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for one in model.graph.initializer:
        if len(one.raw_data) > _LARGE:
            light.graph.input.append(onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims))
        else:
            light.graph.initializer.append(one)
    return light


def _sizes(graph: Any) -> dict[str, int]:
    """Name -> bytes, of the input and of every value that a node makes and whose shape is known."""
    made = {name for node in graph.node for name in node.output} | {graph.input[0].name}
    found = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        sides = [side.dim_value for side in tensor.shape.dim]
        if value.name in made and all(sides):
            found[value.name] = math.prod(sides) * _WIDTHS.get(tensor.elem_type, 4)
    return found


_LARGE = 4096  # bytes
_WIDTHS = {2: 1, 3: 1, 7: 8, 9: 1, 10: 2, 11: 8}  # bytes of an element by ONNX's number for its type; else 4
