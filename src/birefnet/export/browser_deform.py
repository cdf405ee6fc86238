"""Deformable convolutions some lines at a time: a runtime holds the samples of all taps of what it computes at once.

For a kernel of 7 x 7 on 64 channels at 256 x 256 these are 822 MB, which a browser has to find, and which no cache
holds. A part computes every n-th line of the output, as a convolution with a vertical stride of n does; its vertical
offsets say on which line it begins.

Letters: C channels in, h w size of the output, K taps of the kernel, n parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from birefnet.errors import require
from birefnet.export.deform_node import Deform, known_shapes, read_deform
from birefnet.export.making import Maker

COLUMN_BYTES = 64 << 20  # samples of a part
_FLOAT = 4  # bytes


def split_deformable_convs(model: Any, column_bytes: int = COLUMN_BYTES) -> int:
    """Put parts in the place of every DeformConv node that is large; gives how many were.

    Args:
        model: an `onnx.ModelProto` of fixed sizes, changed in place.
        column_bytes: about how large the samples of a part may be.
    """
    onnx: Any = require("onnx", "export")
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    shapes = known_shapes(model)
    nodes, count = [], 0
    for node in graph.node:
        parts = 1
        if node.op_type == "DeformConv":
            deform = read_deform(onnx, node, weights)
            parts = parts_of(deform, shapes.get(deform.offset, ()), column_bytes)
        if parts == 1:
            nodes.append(node)
            continue
        make = Maker(f"split{count}")
        split(make, deform, parts, shapes[deform.offset])
        nodes += make.nodes
        graph.initializer.extend(make.initialisers)
        count += 1
    del graph.node[:]
    graph.node.extend(nodes)
    return count


def parts_of(deform: Deform, offset_shape: Sequence[int | None], column_bytes: int) -> int:
    """Into how many parts one is split: a divisor of its lines, or 1 where that is not worth it or not possible."""
    if len(offset_shape) != 4 or None in offset_shape or deform.stride[0] != 1:
        return 1
    _, _, lines, across = (side or 0 for side in offset_shape)
    wanted = deform.channels * deform.taps * lines * across * _FLOAT / column_bytes
    divisors = [number for number in range(1, lines + 1) if lines % number == 0]
    return next((number for number in divisors if number >= wanted), lines)


def split(make: Maker, deform: Deform, parts: int, offset_shape: Sequence[int | None]) -> None:
    """The nodes of one deformable convolution in parts.

    Args:
        make: gets them.
        deform: what the node said.
        parts: n, a divisor of the lines.
        offset_shape: (1, 2K, h, w).
    """
    _, _, lines, across = offset_shape
    made = []
    for part in range(parts):
        offset = _lines(make, deform.offset, part, parts)
        if part:
            down = np.tile(np.array([part, 0], np.float32), deform.taps).reshape(1, -1, 1, 1)
            offset = make("Add", offset, make.constant(down))
        mask = _lines(make, deform.mask, part, parts) if deform.mask else ""
        some = make(
            "DeformConv",
            *(deform.x, deform.weight, offset, deform.bias, mask),
            strides=[parts, deform.stride[1]],
            pads=[*deform.pad, *deform.pad],
            dilations=list(deform.dilation),
        )
        made.append(make("Unsqueeze", some, make.int64(3)))  # (1, O, h / n, 1, w)
    together = make("Concat", *made, axis=3)
    make("Reshape", together, make.int64(1, deform.outputs, lines or 0, across or 0), output=deform.y)


def _lines(make: Maker, name: str, first: int, step: int) -> str:
    """Every `step`-th line of a map (1, C, h, w) from `first` on."""
    end = np.iinfo(np.int32).max
    return make("Slice", name, make.int64(first), make.int64(end), make.int64(2), make.int64(step))
