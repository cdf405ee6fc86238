"""A network as an ONNX graph for browsers: few operations, and little memory at once."""

from __future__ import annotations

from typing import Any

from birefnet.errors import require
from birefnet.export.browser_deform import split_deformable_convs
from birefnet.export.folding import fold_rearrangements
from birefnet.export.graph import to_onnx
from birefnet.export.storage import share_initialisers
from birefnet.network import BiRefNet
from birefnet.network.inference import fixed_form
from birefnet.pixels.prepare import InputSpec

# Of one operator. A shader may have eight buffers everywhere (WebGPU's `maxStorageBuffersPerShaderStage`), and one is
# the result's.
MOST_INPUTS = 7
_IR_VERSION = 10  # opset 20 needs no more


def to_browser_graph(network: BiRefNet, spec: InputSpec) -> Any:
    """The network's graph (an `onnx.ModelProto`, opset 20, float32) for one picture of the spec's size."""
    model = to_onnx(fixed_form(network, spec.height, spec.width), spec)
    model.ir_version = min(model.ir_version, _IR_VERSION)
    split_deformable_convs(model)
    fold_rearrangements(model.graph)
    share_initialisers(model.graph)
    narrow_concats(model.graph)
    return model


def narrow_concats(graph: Any, most: int = MOST_INPUTS) -> None:
    """Joining more than `most` values becomes joining of joined ones."""
    onnx: Any = require("onnx", "export")
    nodes = []
    for node in graph.node:
        while node.op_type == "Concat" and len(node.input) > most:
            names = list(node.input)
            groups = [names[start : start + most] for start in range(0, len(names), most)]
            joined = []
            for index, group in enumerate(groups):
                name = f"{node.name}.{len(names)}.{index}"
                joined.append(name if len(group) > 1 else group[0])
                if len(group) > 1:
                    nodes.append(onnx.helper.make_node("Concat", group, [name], name, axis=node.attribute[0].i))
            node.input[:] = joined
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
