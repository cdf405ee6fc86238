"""Rearranged weights, rearranged once: the exporter leaves it to the runtime to transpose and split them.

Only what does not add to the number of values is computed here. Masks and the like, small as rules and large as
numbers, stay rules; runtimes compute them when they load the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.export.storage import drop_unused, values_of

_REARRANGING = ("Transpose", "Split", "Reshape", "Squeeze", "Unsqueeze", "Slice")


def fold_rearrangements(graph: Any) -> int:
    """Nodes that only rearrange initialisers become initialisers; gives how many did."""
    onnx: Any = require("onnx", "export")
    stored = {one.name: one for one in graph.initializer}
    outputs = {port.name for port in graph.output}
    known: dict[bytes, list[str]] = {}  # what was rearranged, and how -> the names of the results
    renamed: dict[str, str] = {}
    left = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if not _folds(node, stored) or outputs & set(node.output):
            left.append(node)
            continue
        key = _key(onnx, node)
        if key not in known:
            known[key] = list(node.output)
            for name, values in zip(node.output, rearranged(node, stored), strict=True):
                stored[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        renamed |= dict(zip(node.output, known[key], strict=True))
    count = len(graph.node) - len(left)
    _replace(graph, left, stored)
    return count


def rearranged(node: Any, stored: dict[str, Any]) -> list[NDArray[Any]]:
    """What a node gives for initialisers, by ONNX's own definition."""
    onnx: Any = require("onnx", "export")
    from onnx.reference import ReferenceEvaluator

    helper = onnx.helper
    feed = {name: values_of(stored[name]) for name in node.input if name}
    ports = [helper.make_tensor_value_info(name, stored[name].data_type, list(stored[name].dims)) for name in feed]
    wanted = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "one", ports, wanted)
    return list(ReferenceEvaluator(helper.make_model(graph)).run(None, feed))


def _folds(node: Any, stored: dict[str, Any]) -> bool:
    return node.op_type in _REARRANGING and all(name in stored for name in node.input if name)


def _key(onnx: Any, node: Any) -> bytes:
    """Equal for nodes that do the same to the same."""
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    bare.name = ""
    del bare.output[:]
    text: bytes = bare.SerializeToString()
    return text


def _replace(graph: Any, nodes: list[Any], stored: dict[str, Any]) -> None:
    """Give the graph these nodes and, of these initialisers, those that are asked for."""
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(stored.values())
    drop_unused(graph)
