"""Deformable convolutions out of common operators, for runtimes that have no DeformConv.

The map becomes a table with one row per pixel and a ring of zeros around it; a sample is the weighted sum of four of
its rows, and the convolution a matrix product of such samples. The samples of all taps at once would be K times as
large as the map, so they are made for some taps at a time, and the products are added up.

Places are counted in whole numbers: what rounds positions (a runtime in half precision, say) cannot shift them.

Letters: B batch, C channels in, O channels out, H W size of the map, h w size of the output, K taps of the kernel,
T taps of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from birefnet.errors import require
from birefnet.export.deform_node import Deform, Shapes, Side, Sizes, known_shapes, read_deform
from birefnet.export.making import Maker

_RING = 2  # rows and columns of zeros around the map: what looks past it sees four of them
_INT32 = 6  # ONNX's number for the type
_FAR = float(1 << 20)  # pixels; offsets beyond are cut before they are counted
_GROUP_VALUES = 1 << 24  # samples of a group of taps, in numbers: 64 MiB in float32
_UNKNOWN_SIDE = 256  # of maps whose size is not known when the graph is made: the largest of a 1024 x 1024 picture


def decompose(model: Any) -> int:
    """Put common operators in the place of every DeformConv node; gives how many there were.

    Args:
        model: an `onnx.ModelProto`, changed in place. Sizes may be dynamic.

    Raises:
        ConfigError: if a node has groups, or weights that are not stored in the graph.
    """
    onnx: Any = require("onnx", "export")
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    shapes = known_shapes(model)
    nodes, constants, count = [], [], 0
    for node in graph.node:
        if node.op_type != "DeformConv":
            nodes.append(node)
            continue
        make = Maker(f"deform{count}")
        deform = read_deform(onnx, node, weights)
        build(make, deform, onnx.numpy_helper.to_array(weights[deform.weight]), shapes)
        nodes += make.nodes
        constants += make.initialisers
        count += 1
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *constants])
    return count


def build(make: Maker, deform: Deform, weight: Any, shapes: Shapes) -> None:
    """The nodes of one deformable convolution.

    Args:
        make: gets them.
        deform: what the node said.
        weight: (O, C, kernel height, kernel width).
        shapes: of the values whose shapes are known, None for sides that are not.
    """
    sizes = find_sizes(make, deform, shapes)
    moved = [axis_of(make, deform, axis) for axis in (0, 1)]
    whole = [make("Floor", one) for one in moved]
    table = make_table(make, deform.x, deform.channels)
    corner = make_corners(make, deform, whole, sizes)
    shares = make_shares(make, deform, moved, whole)
    step = group_size(deform, sizes)
    total = ""
    for first in range(0, deform.taps, step):
        taps = slice(first, min(first + step, deform.taps))
        columns = make_columns(make, deform, table, corner, shares, sizes, taps)
        product = make("MatMul", columns, make.constant(weight_rows(weight, taps)))
        total = make("Add", total, product) if total else product
    if deform.bias:
        total = make("Add", total, deform.bias)
    places = make("Reshape", total, make_shape(make, deform, sizes))
    make("Transpose", places, output=deform.y, perm=[0, 3, 1, 2])


def make_table(make: Maker, x: str, channels: int) -> str:
    """(B, C, H, W) -> (B (H + 4) (W + 4), C): the pixels and the zeros around them, row by row."""
    pixels = make("Transpose", x, perm=[0, 2, 3, 1])
    around = make.int64(0, _RING, _RING, 0, 0, _RING, _RING, 0)
    padded = make("Pad", pixels, around, make.float32(0), mode="constant")
    return make("Reshape", padded, make.int64(-1, channels))


def make_corners(make: Maker, deform: Deform, whole: Sequence[str], sizes: Sizes) -> str:
    """(B, h, w, K) int32: the row of the table that is the upper left neighbour of each sample.

    Args:
        make: gets the nodes.
        deform: what the node said.
        whole: the whole parts of the offsets, vertical and horizontal, (B, h, w, K) each.
        sizes: of the maps.
    """
    taps = np.mgrid[0 : deform.kernel[0], 0 : deform.kernel[1]].reshape(2, -1)  # (2, K)
    lengths, outs, places = (sizes.height, sizes.width), (sizes.lines, sizes.across), []
    for axis in (0, 1):
        near = make("Clip", whole[axis], make.float32(-_FAR), make.float32(_FAR))
        start = (taps[axis] * deform.dilation[axis] - deform.pad[axis]).astype(np.int32)
        lattice = make_lattice(make, outs[axis], deform.stride[axis], start, axis)
        place = make("Add", make("Cast", near, to=_INT32), lattice)
        inside = make("Max", make("Min", place, lengths[axis].name), make.int32(-_RING))
        places.append(make("Add", inside, make.int32(_RING)))
    corner = make("Add", make("Mul", places[0], sizes.line), places[1])
    if sizes.batch == 1:
        return corner
    return make("Add", corner, make_first_rows(make, deform, sizes))


def make_first_rows(make: Maker, deform: Deform, sizes: Sizes) -> str:
    """(B, 1, 1, 1) int32: the row of the table where each picture begins."""
    if sizes.batch is None:
        batch = make("Squeeze", make("Shape", deform.x, start=0, end=1), make.int64(0))
        count = make("Range", make.int32(0), make("Cast", batch, to=_INT32), make.int32(1))
    else:
        count = make.constant(np.arange(sizes.batch, dtype=np.int32))
    rows = make("Mul", make("Add", sizes.height.name, make.int32(2 * _RING)), sizes.line)
    return make("Reshape", make("Mul", count, rows), make.int64(-1, 1, 1, 1))


def make_lattice(make: Maker, side: Side, stride: int, start: Any, axis: int) -> str:
    """Where the taps look without offsets: (h, 1, K) int32 for the rows (axis 0), (w, K) for the columns."""
    shape = (-1, 1, 1) if axis == 0 else (-1, 1)
    if side.value is not None:
        known = np.arange(side.value, dtype=np.int32) * np.int32(stride)
        return make.constant(known.reshape(shape) + start)
    count = make("Range", make.int32(0), side.name, make.int32(1))
    places = make("Mul", count, make.int32(stride)) if stride != 1 else count
    return make("Add", make("Reshape", places, make.int64(*shape)), make.constant(start))


def make_shares(make: Maker, deform: Deform, moved: Sequence[str], whole: Sequence[str]) -> list[str]:
    """(B, h, w, K) each: the parts of the corners top left, top right, bottom left, bottom right in each sample.

    Args:
        make: gets the nodes.
        deform: what the node said.
        moved: the offsets, vertical and horizontal, (B, h, w, K) each.
        whole: their whole parts.
    """
    below, right = (make("Sub", offset, floor) for offset, floor in zip(moved, whole, strict=True))  # in [0, 1)
    if deform.mask:
        mask = make("Transpose", deform.mask, perm=[0, 2, 3, 1])
        below = make("Mul", below, mask)
        above = make("Sub", mask, below)
    else:
        above = make("Sub", make.float32(1), below)
    bottom_right, top_right = make("Mul", below, right), make("Mul", above, right)
    return [make("Sub", above, top_right), top_right, make("Sub", below, bottom_right), bottom_right]


def make_columns(
    make: Maker, deform: Deform, table: str, corner: str, shares: Sequence[str], sizes: Sizes, taps: slice
) -> str:
    """(B h w, T C): the samples of some taps, weighed by the mask."""
    rows = some_taps(make, corner, taps, deform.taps)
    below = make("Add", rows, sizes.line)
    corners = (rows, make("Add", rows, make.int32(1)), below, make("Add", below, make.int32(1)))
    total = ""
    for place, share in zip(corners, shares, strict=True):
        values = make("Gather", table, place, axis=0)  # (B, h, w, T, C)
        part = make("Unsqueeze", some_taps(make, share, taps, deform.taps), make.int64(-1))
        weighed = make("Mul", values, part)
        total = make("Add", total, weighed) if total else weighed
    return make("Reshape", total, make.int64(-1, (taps.stop - taps.start) * deform.channels))


def some_taps(make: Maker, values: str, taps: slice, count: int) -> str:
    """(B, h, w, K) -> (B, h, w, T)."""
    if (taps.start, taps.stop) == (0, count):
        return values
    return make("Slice", values, make.int64(taps.start), make.int64(taps.stop), make.int64(3))


def axis_of(make: Maker, deform: Deform, axis: int) -> str:
    """(B, h, w, K): the vertical (axis 0) or horizontal (1) part of the offsets, which alternate."""
    every = make("Slice", deform.offset, make.int64(axis), make.int64(2 * deform.taps), make.int64(1), make.int64(2))
    return make("Transpose", every, perm=[0, 2, 3, 1])


def weight_rows(weight: Any, taps: slice) -> Any:
    """(O, C, kernel height, kernel width) -> (T C, O): the rows of some taps, in the order of the columns."""
    outputs, channels = weight.shape[:2]
    rows = weight.transpose(2, 3, 1, 0).reshape(-1, channels, outputs)  # (K, C, O)
    return rows[taps].reshape(-1, outputs)


def group_size(deform: Deform, sizes: Sizes) -> int:
    """How many taps at a time keep the samples within bounds."""
    places = (sizes.lines.value or _UNKNOWN_SIDE) * (sizes.across.value or _UNKNOWN_SIDE)
    most = max(1, _GROUP_VALUES // (places * deform.channels))
    groups = -(-deform.taps // most)
    return -(-deform.taps // groups)  # groups of about one size


def find_sizes(make: Maker, deform: Deform, shapes: Shapes) -> Sizes:
    """The sizes of a deformable convolution's maps, as far as `shapes` tells, and nodes for the rest."""
    height, width = _sides(make, deform.x, shapes)
    lines, across = _sides(make, deform.offset, shapes)
    if width.value is None:
        line = make("Add", width.name, make.int32(2 * _RING))
    else:
        line = make.int32(width.value + 2 * _RING)
    return Sizes(height, width, lines, across, line, batch=shapes.get(deform.x, (None,))[0])


def make_shape(make: Maker, deform: Deform, sizes: Sizes) -> str:
    """The shape (B, h, w, O), for a Reshape that finds B itself."""
    if sizes.lines.value is not None and sizes.across.value is not None:
        return make.int64(-1, sizes.lines.value, sizes.across.value, deform.outputs)
    size = make("Shape", deform.offset, start=2, end=4)
    return make("Concat", make.int64(-1), size, make.int64(deform.outputs), axis=0)


def _sides(make: Maker, value: str, shapes: Shapes) -> tuple[Side, Side]:
    """Height and width of a map (B, C, H, W)."""
    known = shapes.get(value, (None, None, None, None))
    found = []
    for axis in (2, 3):
        length = known[axis]
        if length is None:
            scalar = make("Squeeze", make("Shape", value, start=axis, end=axis + 1), make.int64(0))
            found.append(Side(make("Cast", scalar, to=_INT32), None))
        else:
            found.append(Side(make.int32(length), length))
    return found[0], found[1]
