"""A plain integer evaluation of the convolutions of an 8-bit graph, as processors with and without VNNI do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Order = Literal["channels first", "channels last"]  # in which the products of a convolution are added


@dataclass(frozen=True)
class Layer:
    """A convolution between its QuantizeLinear nodes."""

    model: Any
    given: str  # the names of its 8-bit input and output
    found: str
    weights: NDArray[np.int8]  # (O, C / groups, kh, kw)
    bias: NDArray[np.int32]  # (O,)
    sizes: tuple[float, NDArray[np.float64], float]  # of a step: of the input, the weights (O,), the output
    zeros: tuple[int, int]  # of the input and the output
    pad: int
    groups: int

    def run_here(self, picture: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """What ONNX Runtime gives this layer, (1, C, H, W), and what it makes of it, (1, O, H, W)."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        names = [self.given, self.found]
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None) for name in names
        )
        session = onnxruntime.InferenceSession(model.SerializeToString())
        given, found = session.run(names, {"x": picture})
        return given, found

    def sums(self, given: NDArray[np.uint8], *, saturating: Order | None = None) -> NDArray[np.int64]:
        """The sums of products (O, H, W); in pairs that saturate at 16 bits, as `vpmaddubsw` adds them, if asked."""
        outputs, per_group, height, width = self.weights.shape
        room = [(0, 0), (self.pad, self.pad), (self.pad, self.pad)]
        padded = np.pad(given[0].astype(np.int64), room, constant_values=self.zeros[0])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))  # (C, H, W, kh, kw)
        result = np.empty((outputs, *windows.shape[1:3]), np.int64)
        for output in range(outputs):
            first = output * self.groups // outputs * per_group
            values = windows[first : first + per_group]
            products = np.moveaxis(values, 0, 2) * self.weights[output].astype(np.int64)  # (H, W, C, kh, kw)
            if saturating == "channels last":
                products = np.moveaxis(products, 2, -1)
            row = products.reshape(*products.shape[:2], -1)
            if saturating:
                row = np.pad(row, [(0, 0), (0, 0), (0, row.shape[-1] % 2)])
                row = np.clip(row[..., ::2] + row[..., 1::2], -(2**15), 2**15 - 1)
            result[output] = row.sum(axis=-1)
        return result

    def rounded(self, sums: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The layer's 8-bit output (1, O, H, W) for its sums of products."""
        shift = self.zeros[0] * self.weights.astype(np.int64).sum(axis=(1, 2, 3))
        whole = sums - shift[:, None, None] + self.bias.astype(np.int64)[:, None, None]
        given, weights, found = self.sizes
        steps = np.round(whole * (given * weights / found)[:, None, None]) + self.zeros[1]
        return np.clip(steps, 0, 255).astype(np.uint8)[None]


def layers_of(model: Any) -> dict[str, Layer]:
    """The convolutions of a graph that compute in 8 bits, by name."""
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    users = {name: node for node in model.graph.node for name in node.input}
    found = {}
    for node in model.graph.node:
        if node.op_type != "Conv" or any(makers[name].op_type != "DequantizeLinear" for name in node.input[:2]):
            continue
        source, widen = (makers[name] for name in node.input[:2])
        result = users[node.output[0]]
        result = users[result.output[0]] if result.op_type in ("Relu", "Clip") else result
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        weights = stored[widen.input[0]]
        bias = makers[node.input[2]].input[0] if len(node.input) > 2 else None
        found[node.name] = Layer(
            model=model,
            given=source.input[0],
            found=result.output[0],
            weights=weights,
            bias=np.zeros(len(weights), np.int32) if bias is None else stored[bias],
            sizes=(
                float(stored[source.input[1]]),
                stored[widen.input[1]].astype(np.float64),
                float(stored[result.input[1]]),
            ),
            zeros=(int(stored[source.input[2]]), int(stored[result.input[2]])),
            pad=attributes.get("pads", [0])[0],
            groups=attributes.get("group", 1),
        )
    return found
