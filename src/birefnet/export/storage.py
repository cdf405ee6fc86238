"""An ONNX graph's weights in fewer bits; the runtime widens them once, when it loads the file, and computes as before.

Legend: O outputs of a layer.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.export.rounding import to_steps

_SMALL = 64  # initialisers of fewer values stay float32: halving them saves nothing
_SMALL_LAYER = 1024  # and layers of fewer weights gain nothing from 8 bits
_LARGEST_HALF = float(np.finfo(np.float16).max)

# Operators with weights (their second input), and where the axis of the outputs is.
_LAYERS = {"Conv": 0, "DeformConv": 0, "MatMul": -1, "Gemm": -1}


def share_initialisers(graph: Any) -> None:
    """Equal initialisers become one; a network that runs its backbone twice holds some of them twice."""
    kept: dict[tuple[Any, ...], str] = {}
    renamed: dict[str, str] = {}
    for initialiser in graph.initializer:
        digest = hashlib.sha256(values_of(initialiser).tobytes()).digest()
        name = kept.setdefault((initialiser.data_type, *initialiser.dims, digest), initialiser.name)
        if name != initialiser.name:
            renamed[initialiser.name] = name
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    dropped = [index for index, one in enumerate(graph.initializer) if one.name in renamed]
    for index in reversed(dropped):
        del graph.initializer[index]


def store_half(graph: Any) -> None:
    """Each float32 initialiser of some size becomes a float16 one and a cast; one that float16 cannot hold stays."""
    onnx: Any = require("onnx", "export")
    casts = []
    for initialiser in graph.initializer:
        values = values_of(initialiser)
        if values.dtype != np.float32 or values.size < _SMALL or not np.abs(values).max() <= _LARGEST_HALF:
            continue
        name = initialiser.name
        initialiser.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], f"cast.{name}", to=onnx.TensorProto.FLOAT))
    put_first(graph, casts)


def store_int8(graph: Any, *, keep: frozenset[str] = frozenset()) -> None:
    """The weights of each layer become 8-bit ones with a scale per output, and a DequantizeLinear node.

    Args:
        graph: changed in place.
        keep: names of nodes whose weights stay as they are.
    """
    onnx: Any = require("onnx", "export")
    axes = dict(_weights(graph, keep))
    found = []
    for initialiser in graph.initializer:
        if initialiser.name not in axes or initialiser.data_type != onnx.TensorProto.FLOAT:
            continue
        values = values_of(initialiser)
        if values.size >= _SMALL_LAYER:
            found.append((initialiser, values, axes[initialiser.name] % values.ndim))
    nodes = []
    for initialiser, values, axis in found:
        name = initialiser.name
        steps, scale = to_steps(values, axis)
        initialiser.CopyFrom(onnx.numpy_helper.from_array(steps, f"{name}.steps"))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}.scale"))
        inputs = [f"{name}.steps", f"{name}.scale"]
        nodes.append(onnx.helper.make_node("DequantizeLinear", inputs, [name], f"widen.{name}", axis=axis))
    put_first(graph, nodes)


def smallest_layers(graph: Any, share: float, *, keep: frozenset[str] = frozenset()) -> frozenset[str]:
    """The names of the nodes with the smallest weights, together at most `share` of all.

    Rounding a layer's weights adds about as much noise whether it has a thousand or a million of them, so sparing
    these from 8 bits costs least for what it gains.

    Args:
        graph: as for `store_int8`.
        share: in 0..1, of the weights that `store_int8` would store.
        keep: names of nodes that it leaves alone anyway.
    """
    sizes = {one.name: math.prod(one.dims) for one in graph.initializer}
    candidates = [name for name in dict(_weights(graph, keep)) if name in sizes]  # in the graph's order, each once
    candidates.sort(key=lambda name: sizes[name])
    room = share * sum(sizes[name] for name in candidates)
    ends = itertools.accumulate(sizes[name] for name in candidates)
    spared = {name for name, end in zip(candidates, ends, strict=True) if end <= room}
    return frozenset(node.name for node in graph.node if node.op_type in _LAYERS and spared & set(node.input))


def values_of(initialiser: Any) -> NDArray[Any]:
    """An initialiser as an array."""
    onnx: Any = require("onnx", "export")
    values: NDArray[Any] = onnx.numpy_helper.to_array(initialiser)
    return values


def put_first(graph: Any, nodes: list[Any]) -> None:
    """Nodes that need nothing but initialisers go before all others: a graph's nodes are in the order of computing."""
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def output_axis(node: Any) -> int:
    """Along which axis of a layer's weights its outputs lie."""
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if transposed else _LAYERS[node.op_type]


def drop_unused(graph: Any) -> None:
    """Initialisers that no node asks for leave."""
    used = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}
    for place in reversed([place for place, one in enumerate(graph.initializer) if one.name not in used]):
        del graph.initializer[place]


def _weights(graph: Any, keep: frozenset[str]) -> Iterator[tuple[str, int]]:
    """The names of the initialisers that are weights, and the axis of their outputs."""
    kept = {name for node in graph.node if node.name in keep for name in node.input}
    for node in graph.node:
        if node.op_type in _LAYERS and len(node.input) > 1 and node.input[1] not in kept:
            yield node.input[1], output_axis(node)
