"""What a DeformConv node of an ONNX graph says, and the sizes of the maps around it.

Letters: B batch, C channels in, O channels out, H W size of the map, h w size of the output, K taps of the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from birefnet.errors import ConfigError

Shapes = Mapping[str, tuple[int | None, ...]]


@dataclass(frozen=True, slots=True)
class Side:
    """A length that is known when the graph is made, or else computed by it."""

    name: str  # a scalar of int32 in the graph
    value: int | None  # None where only the graph knows


@dataclass(frozen=True, slots=True)
class Sizes:
    """H, W, h and w of one deformable convolution, the table's rows per line of the map, and B if it is known."""

    height: Side
    width: Side
    lines: Side
    across: Side
    line: str  # a scalar of int32 in the graph
    batch: int | None


@dataclass(frozen=True, slots=True)
class Deform:
    """What a DeformConv node says.

    Attributes:
        x, weight, offset, mask, bias, y: names of its inputs and its output; of mask and bias, "" where absent.
        channels, outputs: C, O.
        kernel, stride, pad, dilation: (vertical, horizontal); pad is that above and on the left.
    """

    x: str
    weight: str
    offset: str
    mask: str
    bias: str
    y: str
    channels: int
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]


def read_deform(onnx: Any, node: Any, weights: dict[str, Any]) -> Deform:
    """What a DeformConv node says.

    Raises:
        ConfigError: if it has groups, or weights that are not stored in the graph.
    """
    said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    inputs = [*node.input, "", "", ""][:5]
    x, weight, offset, bias, mask = inputs
    if weight not in weights or said.get("group", 1) != 1 or said.get("offset_group", 1) != 1:
        raise ConfigError(
            f"The deformable convolution `{node.name}` has groups or computed weights, which cannot be decomposed",
            hint='take `deform="native"`',
        )
    outputs, channels, *kernel = weights[weight].dims
    return Deform(
        x=x,
        weight=weight,
        offset=offset,
        mask=mask,
        bias=bias,
        y=node.output[0],
        channels=channels,
        outputs=outputs,
        kernel=(kernel[0], kernel[1]),
        stride=tuple(said.get("strides", (1, 1))),
        pad=tuple(said.get("pads", (0, 0, 0, 0)))[:2],
        dilation=tuple(said.get("dilations", (1, 1))),
    )


def known_shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """The shapes that a graph tells of, None for the sides it does not."""
    graph = model.graph
    return {
        value.name: tuple(
            side.dim_value if side.HasField("dim_value") else None for side in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
