"""Deformable convolutions for OpenVINO, made of operators that every OpenVINO has.

Its ONNX reader has no rule for DeformConv. Here is one: each becomes bilinear samples of a table of pixels, then one
matrix product, in blocks of lines so that the samples stay few. OpenVINO computes that in bfloat16 and in 8 bits; its
own DeformableConvolution, which stands for what cannot be written so (free sizes, groups), only in float32.

Positions in the table are whole numbers, int32: in bfloat16 they would shift. Zeros around the map replace all tests of
what lies inside it.

Letters: B batch, C channels in, O channels out, H W size of the map, h w size of the output, K taps of the kernel,
n lines of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birefnet.errors import require

if TYPE_CHECKING:
    from openvino import Node, Output
    from openvino.frontend import NodeContext
    from openvino.frontend.onnx import ConversionExtension

BLOCK_BYTES = 64 << 20  # of float32 samples at a time; smaller blocks cost compiling time, larger ones memory

SAMPLES = "deformable/"  # how the names of the nodes begin that find samples; they are for float32 and bfloat16 only

# Zeros around the map, in pixels. A line's zeros on the left are those on the right of the line before, too.
_BEFORE, _BEHIND = 2, 3


class Window(NamedTuple):
    """How a kernel goes over the map, each as (down, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def deform_rule() -> ConversionExtension:
    """The rule for ONNX's DeformConv, for `Core.add_extension`."""
    return require("openvino.frontend.onnx", "openvino").ConversionExtension("DeformConv", _convert)


def _convert(context: NodeContext) -> list[Output]:
    """ONNX: x, weight, offset, bias or nothing, mask or nothing -> the result (B, O, h, w)."""
    op = require("openvino.opset13", "openvino")
    inputs = [context.get_input(index) for index in range(context.get_input_size())]
    x, weight, offset = inputs[:3]
    bias, mask = [*(None if _is_absent(value) else value for value in inputs[3:]), None, None][:2]
    dims = weight.get_partial_shape()
    kernel = (dims[2].get_length(), dims[3].get_length())
    pads = tuple(context.get_attribute("pads", [0, 0, 0, 0]))
    strides, dilations = (tuple(context.get_attribute(name, [1, 1])) for name in ("strides", "dilations"))
    groups = tuple(context.get_attribute(name, 1) for name in ("group", "offset_group"))
    y = None
    if groups == (1, 1) and mask is not None and pads[:2] == pads[2:] and _all_static(x, offset, mask):
        y = sampled(x, weight, offset, mask, Window(kernel, strides, pads[:2], dilations))
    if y is None:
        y = _native(x, weight, offset, mask, pads, strides, dilations, groups)
    if bias is not None:
        y = op.add(y, op.reshape(bias, _ints([1, -1, 1, 1]), False)).output(0)
    return [y]


def _native(
    x: Output,
    weight: Output,
    offset: Output,
    mask: Output | None,
    pads: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: Sequence[int],
) -> Output:
    """OpenVINO's own operator."""
    opset8 = require("openvino.opset8", "openvino")
    node = opset8.deformable_convolution(
        *(x, offset, weight, list(strides), list(pads[:2]), list(pads[2:]), list(dilations)),
        mask=mask,
        group=groups[0],
        deformable_group=groups[1],
        bilinear_interpolation_pad=True,
    )
    return node.output(0)


def sampled(x: Output, weight: Output, offset: Output, mask: Output, window: Window) -> Output:
    """The convolution as samples of a table and a product, block by block; shapes must be known.

    Args:
        x: output of a node, (B, C, H, W), like all that follow.
        weight: (O, C, kernel height, kernel width).
        offset: (B, 2K, h, w), pairs (dy, dx) per tap.
        mask: (B, K, h, w).
        window: the kernel's way over the map.

    Returns:
        (B, O, h, w).
    """
    op = require("openvino.opset13", "openvino")
    batch, channels, height, width = x.get_shape()
    _, taps, lines, across = mask.get_shape()
    out = weight.get_shape()[0]
    lattice = _Lattice((height, width), window)
    table = _table(x)
    down, right = (
        _lines(op.gather(offset, _ints(range(axis, 2 * taps, 2)), _ints(1)).output(0), batch * lines) for axis in (0, 1)
    )
    # (O, C, kernel) -> (K C, O), the order of the samples; where the weights are constant this is done once
    rows = op.reshape(op.transpose(weight, _ints([2, 3, 1, 0])), _ints([taps * channels, out]), False)
    steps = _steps(batch * lines, across * taps * channels * 4)
    moves = (down, right, _lines(mask, batch * lines))
    parts = [list(op.variadic_split(value, _ints(0), _ints(steps)).outputs()) for value in moves]
    places = []
    for start, moved in zip(np.cumsum([0, *steps[:-1]]), zip(*parts, strict=True), strict=True):
        numbers = np.arange(start, start + moved[0].get_shape()[0])
        samples = lattice.samples(table, moved, numbers % lines, numbers // lines, across)
        columns = op.reshape(samples, _ints([-1, taps * channels]), False)
        places.append(op.matmul(columns, rows, False, False))
    joined = places[0] if len(places) == 1 else op.concat(places, 0)
    shaped = op.reshape(joined, _ints([batch, lines, across, out]), False)
    return op.transpose(shaped, _ints([0, 3, 1, 2])).output(0)


class _Lattice:
    """Where the taps of a kernel look in the table of a map of `size` (H, W)."""

    def __init__(self, size: tuple[int, int], window: Window) -> None:
        self.size, self.window = size, window
        self.line = size[1] + _BEFORE  # rows of the table per line of the map

    def samples(
        self, table: Node, moved: Sequence[Output], lines: NDArray[np.int_], pictures: NDArray[np.int_], across: int
    ) -> Node:
        """(n, w, K, C): the bilinear samples, weighed by the mask.

        Args:
            table: (rows, C).
            moved: how far down and right each tap looks, and its mask; (n, w, K) each.
            lines: the block's lines, of the output (n,).
            pictures: the picture of the batch that each is in (n,).
            across: w.
        """
        op = _Named(SAMPLES)
        down, right, mask = moved
        whole_down, whole_right = op.floor(down), op.floor(right)
        top = self._place(whole_down, self._starts(0, lines)[:, None], 0)
        left = self._place(whole_right, self._starts(1, np.arange(across))[None], 1)
        first = pictures * (self.size[0] + _BEFORE + _BEHIND) * self.line + _BEFORE * self.line + _BEFORE
        corner = op.add(op.multiply(top, _ints(self.line)), op.add(left, _ints(first[:, None, None])))
        below, beside = op.subtract(down, whole_down), op.subtract(right, whole_right)
        bottom = op.multiply(below, mask)
        above = op.subtract(mask, bottom)
        bottom_right, top_right = op.multiply(bottom, beside), op.multiply(above, beside)
        shares = (op.subtract(above, top_right), top_right, op.subtract(bottom, bottom_right), bottom_right)
        found = [
            op.multiply(op.gather(table, op.add(corner, _ints(step)), _ints(0)), op.unsqueeze(share, _ints(3)))
            for step, share in zip((0, 1, self.line, self.line + 1), shares, strict=True)
        ]
        return op.add(op.add(op.add(found[0], found[1]), found[2]), found[3])

    def _starts(self, axis: int, places: NDArray[np.int_]) -> NDArray[np.int_]:
        """Where each tap of each place looks before it is moved, in pixels (places, K)."""
        window = self.window
        down, right = (np.arange(length) * step for length, step in zip(window.kernel, window.dilation, strict=True))
        taps = down.repeat(len(right)) if axis == 0 else np.tile(right, len(down))
        found: NDArray[np.int_] = (places * window.stride[axis] - window.padding[axis])[:, None] + taps
        return found

    def _place(self, moved: Node, start: NDArray[np.int_], axis: int) -> Node:
        """The pixel before the place looked at; what is outside of the map goes to the zeros around it."""
        op = _Named(SAMPLES)
        return op.clamp(op.add(op.convert(moved, "i32"), _ints(start)), -_BEFORE, self.size[axis])


class _Named:
    """OpenVINO's operators; each node made gets a name that begins with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._operators = require("openvino.opset13", "openvino")

    def __getattr__(self, kind: str) -> Callable[..., Node]:
        def make(*inputs: object) -> Node:
            node = getattr(self._operators, kind)(*inputs)
            node.set_friendly_name(f"{self._prefix}{node.get_name()}")
            return node

        return make


def _table(x: Output) -> Node:
    """(B, C, H, W) -> (rows, C): the pixels and the zeros around them, picture by picture, line by line."""
    op = require("openvino.opset13", "openvino")
    last = op.transpose(x, _ints([0, 2, 3, 1]))
    zero = op.constant(np.float32(0))
    padded = op.pad(last, _ints([0, _BEFORE, _BEFORE, 0]), _ints([0, _BEHIND, 0, 0]), "constant", zero)
    return op.reshape(padded, _ints([-1, x.get_shape()[1]]), False)


def _lines(value: Output, lines: int) -> Node:
    """(B, K, h, w) -> (B h, w, K)."""
    op = require("openvino.opset13", "openvino")
    _, taps, _, across = value.get_shape()
    return op.reshape(op.transpose(value, _ints([0, 2, 3, 1])), _ints([lines, across, taps]), False)


def _steps(lines: int, line_bytes: int) -> list[int]:
    """The lines of each block: as equal as can be, none above `BLOCK_BYTES`."""
    blocks = min(lines, -(-lines * line_bytes // BLOCK_BYTES))
    return [len(part) for part in np.array_split(np.arange(lines), blocks)]


def _ints(values: ArrayLike) -> Node:
    """A constant of int32."""
    op = require("openvino.opset13", "openvino")
    return op.constant(np.asarray(values, np.int32))


def _all_static(*values: Output) -> bool:
    return all(value.get_partial_shape().is_static for value in values)


def _is_absent(value: Output) -> bool:
    return bool(value.get_node().get_type_name() == "NullNode")
