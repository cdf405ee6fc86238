"""ONNX -> an OpenVINO graph that its processor plug-in computes without needless copies.

Every step here keeps the function: weights get their shape once, and are there once; offsets come out of convolutions
of their own, in the order that they are read in; and lines of pixels stay channels-last until a convolution takes them,
which wants them so.

Letters: B batch, C channels, H W size of a map, K taps of a kernel.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birefnet.errors import require
from birefnet.runtimes.openvino_deform import deform_rule

if TYPE_CHECKING:
    from openvino import Core, Model, Node, Output


_TO_CHANNELS_FIRST = [0, 3, 1, 2]
_SHAPES = ("Reshape", "Squeeze", "Unsqueeze")  # what they do is known from the shape of what they give
_ORDERS = ("Transpose", "VariadicSplit")
_SMALL = 1024  # bytes of constants that are not worth sharing
_CHANNELS = 1  # the axis of them in maps


def read_onnx(core: Core, source: Path | bytes) -> Model:
    """An ONNX file, or the content of one, as an `openvino.Model` of standard operators only.

    Args:
        core: an `openvino.Core`; it learns the rule for DeformConv.
        source: of any opset that OpenVINO reads; its weights in it, not beside it, where it is no path.
    """
    core.add_extension(deform_rule())
    model = core.read_model(source)
    tidy(model)
    return model


def tidy(model: Model) -> None:
    """Change `model` in place, as told above."""
    for node in model.get_ordered_ops():
        _rearrange(node)
    _share(model)
    nodes = model.get_ordered_ops()
    for node in nodes:
        if _kind(node) == "Slice":
            _separate_offsets(node)
    for node in nodes:
        if _kind(node) == "Transpose" and _values(node, 1) == _TO_CHANNELS_FIRST:
            _sink(node)
    model.validate_nodes_and_infer_types()


def _rearrange(node: Node) -> None:
    """A constant in another shape or order becomes a constant; nothing is computed here that takes more room."""
    if _kind(node) not in (*_SHAPES, *_ORDERS) or _kind(node.input_value(0).get_node()) != "Constant":
        return
    told = [_values(node, index) for index in range(1, node.get_input_size())]
    known = node.get_output_partial_shape(0).is_static if _kind(node) in _SHAPES else None not in told
    if not known:
        return
    op = require("openvino.opset13", "openvino")
    values = node.input_value(0).get_node().get_data()
    if _kind(node) == "VariadicSplit":
        ends = np.cumsum(_values(node, 2))[:-1]
        for index, part in enumerate(np.split(values, ends, axis=int(np.reshape(_values(node, 1), ())))):
            cut = op.constant(np.ascontiguousarray(part))
            cut.set_friendly_name(f"{node.get_friendly_name()}/{index}")
            _replace(node, cut, index)
        return
    if _kind(node) == "Transpose":
        values = np.transpose(values, _values(node, 1))
    made = op.constant(np.ascontiguousarray(values.reshape(tuple(node.get_output_shape(0)))))
    made.set_friendly_name(node.get_friendly_name())
    _replace(node, made)


def _share(model: Model) -> None:
    """Equal constants become one; a network that runs its backbone twice holds some of them twice."""
    kept: dict[tuple[str, tuple[int, ...], bytes], Node] = {}
    for node in model.get_ordered_ops():
        if _kind(node) != "Constant" or node.get_byte_size() < _SMALL:
            continue
        values = node.get_data()
        digest = hashlib.sha256(np.ascontiguousarray(values).data).digest()
        first = kept.setdefault((str(values.dtype), values.shape, digest), node)
        if first.get_name() != node.get_name():
            _replace(node, first)


def _separate_offsets(node: Node) -> None:
    """Offsets (dy, dx, dy, ...) and a mask, cut from one convolution's output, become three convolutions.

    Each gives what is read as it is read; cutting channels out of a channels-last map takes longer than the rounding up
    of their number to whole registers.
    """
    pickers = [port.get_node() for port in node.output(0).get_target_inputs()]
    picked = {part: picker for picker in pickers if (part := _picks(picker)) is not None}
    add = node.input_value(0).get_node()
    if set(picked) != {0, 1} or len(pickers) != 2 or not _is_cut(node, start=0) or _kind(add) != "Add":
        return
    conv, bias = add.input_value(0).get_node(), add.input_value(1).get_node()
    count = node.get_output_shape(0)[_CHANNELS]
    others = [port.get_node() for port in add.output(0).get_target_inputs()]
    others = [other for other in others if other.get_name() != node.get_name()]
    weight = conv.input_value(1).get_node() if _kind(conv) == "Convolution" else conv
    if _kind(weight) != "Constant" or _kind(bias) != "Constant":
        return
    total = weight.get_output_shape(0)[0]
    if list(bias.get_output_shape(0)) != [1, total, 1, 1] or not all(_is_cut(other, start=count) for other in others):
        return
    for part, picker in picked.items():
        _replace(picker, _some_channels(conv, bias, np.arange(part, count, 2)))
    for other in others:
        _replace(other, _some_channels(conv, bias, np.arange(count, count + other.get_output_shape(0)[_CHANNELS])))


def _some_channels(conv: Node, bias: Node, channels: NDArray[np.int_]) -> Node:
    """A convolution and its bias for some of their output's channels."""
    op = require("openvino.opset13", "openvino")
    weight = conv.input_value(1).get_node().get_data()[channels]
    names = ("strides", "pads_begin", "pads_end", "dilations")
    settings = [conv.get_attributes()[name] for name in names]
    made = op.convolution(conv.input_value(0), op.constant(weight), *settings)
    return op.add(made, op.constant(bias.get_data()[:, channels]))


def _picks(node: Node) -> int | None:
    """0 for a node that takes the even channels, 1 for the odd ones, None for any other."""
    if _kind(node) != "Gather" or _values(node, 2) not in ([_CHANNELS], _CHANNELS):
        return None
    channels = node.input_value(0).get_partial_shape()[_CHANNELS]
    wanted = _values(node, 1)
    return next((start for start in (0, 1) if wanted == list(range(start, channels.get_length(), 2))), None)


def _is_cut(node: Node, *, start: int) -> bool:
    """Whether it takes the channels from `start` on, one after another."""
    return bool(
        _kind(node) == "Slice"
        and _values(node, 1) == [start]
        and _values(node, 3) == [1]
        and (node.get_input_size() < 5 or _values(node, 4) == [_CHANNELS])
    )


def _sink(node: Node) -> None:
    """Move a transposition behind what works on each value alone, as long as it has no other reader."""
    op = require("openvino.opset13", "openvino")
    while len(ports := list(node.output(0).get_target_inputs())) == 1:
        reader = ports[0].get_node()
        source = node.input_value(0)
        if _kind(reader) == "Relu":
            moved = op.relu(source)
        elif (
            _kind(reader) == "Add" and (bias := _per_channel(reader.input_value(1 - ports[0].get_index()))) is not None
        ):
            moved = op.add(source, op.constant(bias))
        else:
            return
        moved.set_friendly_name(reader.get_friendly_name())
        behind = op.transpose(moved, node.input_value(1))
        _replace(reader, behind)
        node = behind


def _per_channel(value: Output) -> NDArray[np.floating] | None:
    """A constant (1, C, 1, 1) or (C, 1, 1) as (C,); None for anything else."""
    node = value.get_node()
    if _kind(node) != "Constant":
        return None
    values = node.get_data()
    shape = values.shape if values.ndim == 4 else (1, *values.shape)
    return values.reshape(-1) if len(shape) == 4 and (shape[0], *shape[2:]) == (1, 1, 1) else None


def _replace(old: Node, new: Node, index: int = 0) -> None:
    """The readers of an output of `old` read `new` instead."""
    for port in list(old.output(index).get_target_inputs()):
        port.replace_source_output(new.output(0))


def _kind(node: Node) -> str:
    return str(node.get_type_name())


def _values(node: Node, index: int) -> Any:
    """What an input holds, as plain numbers, if it is constant; None if it is not."""
    if index >= node.get_input_size():
        return None
    source = node.input_value(index).get_node()
    return source.get_data().tolist() if _kind(source) == "Constant" else None
