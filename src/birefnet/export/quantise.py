"""Static 8-bit quantisation of an ONNX graph: weights and activations, with ranges found on pictures.

Pairs of QuantizeLinear and DequantizeLinear stand around each layer, which every runtime with 8-bit kernels
understands. What suffers from 8 bits stays in float: the network's last layers, whose errors nothing mends, and the
convolutions that tell deformable ones where to look.

x86 processors without VNNI multiply unsigned by signed 8-bit values with an instruction that adds two products in 16
bits and saturates: 255 * 127 + 255 * 127 is more than these hold, and the result is silently wrong. Which two weights
meet depends on the runtime and the processor. Weights here have 64 steps to either side: no two of them can saturate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import WeightsError
from birefnet.export.making import Maker
from birefnet.export.ranges import STEPS, Floats, Range, find_ranges
from birefnet.export.rounding import to_steps
from birefnet.export.storage import drop_unused, output_axis, put_first, values_of

_QUANTISED = ("Conv", "MatMul", "Gemm")  # where the work is; all else is computed in float
_LAST = 3  # layers before the output that stay in float
_PASSING = ("Cast", "Mul", "Sigmoid", "Slice", "Split", "Transpose", "Reshape", "Add", "Concat", "Squeeze", "Unsqueeze")
_CLIPPING = ("Relu", "Clip")  # runtimes compute them as a part of the layer before
_WEIGHT_STEPS = 64  # 255 * (64 + 64) = 32640
_LARGEST_SUM = 2**15 - 1  # that two products may have
_LARGEST_BIAS = 2**30  # steps: half of what 32 bits hold, which leaves room for the products


def quantise(model: Any, pictures: Iterable[Floats]) -> Any:
    """A float32 model -> one whose convolutions and matrix products take 8-bit values and weights.

    Args:
        model: an `onnx.ModelProto` with one input; left as it is.
        pictures: normalised, (N, 3, H, W) each, as the network will see them; at least one.

    Returns:
        An `onnx.ModelProto`; weights have a scale per output, activations one per tensor.

    Raises:
        WeightsError: as `check_sums` does.
    """
    made = type(model)()
    made.CopyFrom(model)
    graph = made.graph
    weights = {one.name: values_of(one) for one in graph.initializer}
    kept = float_nodes(graph)
    layers = [node for node in graph.node if node.op_type in _QUANTISED and node.name not in kept]
    layers = [node for node in layers if node.input[1] in weights]
    tensors = dict.fromkeys([node.input[0] for node in layers] + _results(graph, layers))
    ranges = find_ranges(model, list(tensors), pictures)
    constants, pairs = Maker("int8.weights"), Maker("int8.values")
    for node in layers:
        _quantise_weights(node, ranges[node.input[0]], weights, constants)
    _quantise_tensors(graph, {node.name for node in layers}, ranges, pairs)
    put_first(graph, constants.nodes)
    graph.initializer.extend([*constants.initialisers, *pairs.initialisers])
    drop_unused(graph)
    check_sums(graph)
    return made


def check_sums(graph: Any) -> None:
    """See by arithmetic that no two products of a layer saturate, whichever weights of an output meet.

    Of a pair, the sum is largest where activations are 255 and weights of one sign, or one of the two is 0.

    Raises:
        WeightsError: if two could.
    """
    stored = {one.name: one for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        widen = makers.get(node.input[1]) if node.op_type in _QUANTISED else None
        source = makers.get(node.input[0]) if widen is not None else None
        if widen is None or source is None or {widen.op_type, source.op_type} != {"DequantizeLinear"}:
            continue  # computed in float
        sums = pair_sums(values_of(stored[widen.input[0]]), output_axis(node))
        refuse_saturation(node.name, sums)


def refuse_saturation(name: str, sums: int) -> None:
    """Let nothing pass whose pairs of products (`pair_sums`) may be more than 16 bits hold.

    Raises:
        WeightsError: if they may.
    """
    if sums > _LARGEST_SUM:
        raise WeightsError(
            f"`{name}` would be wrong on processors without VNNI: two products of its 8-bit weights add up to "
            f"{sums}, and {_LARGEST_SUM} is the most that these hold",
            hint='please report this, and take `precision="int8wo"` meanwhile',
        )


def pair_sums(steps: NDArray[np.int8], axis: int) -> int:
    """The largest sum, in magnitude, that two products of unsigned 8-bit values with weights of one output can have."""
    outputs = np.moveaxis(steps, axis, 0).reshape(steps.shape[axis], -1).astype(np.int64)
    ordered = np.sort(np.pad(outputs, [(0, 0), (0, 2)]), axis=1)  # with a 0 for each activation, which may be 0
    return STEPS * int(max(ordered[:, -2:].sum(axis=1).max(), -ordered[:, :2].sum(axis=1).min()))


def _results(graph: Any, layers: list[Any]) -> list[str]:
    """The tensors that layers give, behind the clipping that follows and that no other asks around."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs = {port.name for port in graph.output}
    results = []
    for node in layers:
        name = node.output[0]
        after = users.get(name, [])
        if len(after) == 1 and after[0].op_type in _CLIPPING and name not in outputs:
            name = after[0].output[0]
        if name not in outputs:
            results.append(name)
    return results


def _quantise_weights(node: Any, given: Range, weights: dict[str, NDArray[Any]], make: Maker) -> None:
    """Give a layer its weights, and its bias, from integers."""
    values = weights[node.input[1]].astype(np.float32)
    axis = output_axis(node) % values.ndim
    bias = weights.get(node.input[2]) if len(node.input) > 2 else None
    least = None if bias is None else (np.abs(bias) / (given.scale * _LARGEST_BIAS)).astype(np.float32)
    steps, scale = to_steps(values, axis, steps=_WEIGHT_STEPS, least=least)
    zero = make.constant(np.zeros(scale.shape, np.int8))
    node.input[1] = make("DequantizeLinear", make.constant(steps), make.constant(scale), zero, axis=axis)
    if bias is not None:
        size = (scale * given.scale).astype(np.float32)
        whole = np.round(bias / size.astype(np.float64)).astype(np.int32)
        zero = make.constant(np.zeros(size.shape, np.int32))
        node.input[2] = make("DequantizeLinear", make.constant(whole), make.constant(size), zero, axis=0)


def _quantise_tensors(graph: Any, layers: set[str], ranges: dict[str, Range], make: Maker) -> None:
    """Put a pair of nodes behind each tensor; whoever asks for the tensor asks for the pair's, in 8 bits."""
    renamed: dict[str, str] = {}

    def pair(name: str) -> None:
        scale, zero = make.constant(np.array(ranges[name].scale)), make.constant(np.array(ranges[name].zero))
        renamed[name] = make("DequantizeLinear", make("QuantizeLinear", name, scale, zero), scale, zero)

    computed = {name for node in graph.node for name in node.output}
    outside = [name for name in ranges if name not in computed]
    nodes = list(graph.node)
    for name in outside:
        pair(name)
    for node in nodes:
        for place, name in enumerate(node.input):
            exact = name in outside and node.name not in layers  # the picture itself, which others see as it is
            node.input[place] = name if exact else renamed.get(name, name)
        make.nodes.append(node)
        for name in node.output:
            if name in ranges:
                pair(name)
    del graph.node[:]
    graph.node.extend(make.nodes)


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
