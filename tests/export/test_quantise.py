"""Which layers get 8 bits, and which are too delicate."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from birefnet.export.decompose import decompose
from birefnet.export.quantise import float_nodes, quantise


def network() -> Any:
    """first -> (offsets -> split) -> deformable -> attention -> second -> three last layers."""
    rng = np.random.default_rng(0)

    def conv(name: str, x: str, width: int, out: int) -> Any:
        stored[name] = rng.standard_normal((out, width, 3, 3)) / np.sqrt(9 * width)
        return helper.make_node("Conv", [x, name], [f"{name}.y"], name, pads=[1] * 4)

    stored: dict[str, Any] = {"parts": np.array([18, 9]), "deform": rng.standard_normal((8, 8, 3, 3)) / 8}
    nodes = [
        conv("first", "x", 3, 8),
        conv("offsets", "first.y", 8, 27),
        helper.make_node("Split", ["offsets.y", "parts"], ["offset", "weigh"], "split", axis=1),
        helper.make_node("Sigmoid", ["weigh"], ["mask"], "sigmoid"),
        helper.make_node("DeformConv", ["first.y", "deform", "offset", "", "mask"], ["moved"], "d", pads=[1] * 4),
        helper.make_node("MatMul", ["moved", "moved"], ["attended"], "attention"),
        conv("second", "attended", 8, 8),
        conv("last1", "second.y", 8, 8),
        helper.make_node("Relu", ["last1.y"], ["relu"], "relu"),
        conv("last2", "relu", 8, 8),
        conv("last3", "last2.y", 8, 1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("last3.y", TensorProto.FLOAT, (1, 1, 16, 16))],
        [
            onnx.numpy_helper.from_array(value if value.dtype == np.int64 else value.astype(np.float32), name)
            for name, value in stored.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_delicate_layers_stay_in_float() -> None:
    assert float_nodes(network().graph) == {"offsets", "attention", "last1", "last2", "last3"}


def test_decomposed_ones_too() -> None:
    model = network()
    decompose(model)
    kept = {name for name in float_nodes(model.graph) if not name.startswith("deform")}
    assert kept == {"offsets", "attention", "last1", "last2", "last3"}


def test_eight_bits_are_close_and_the_rest_is_float() -> None:
    model = network()
    pictures = [np.random.default_rng(seed).standard_normal((1, 3, 16, 16)).astype(np.float32) for seed in range(4)]
    made = quantise(model, pictures)
    quantised = {
        node.name for node in made.graph.node if node.op_type == "Conv" and "DequantizeLinear" in node.input[1]
    }
    assert quantised == {"first", "second"}
    whole, small = (onnxruntime.InferenceSession(one.SerializeToString()) for one in (model, made))
    wanted, found = (session.run(None, {"x": pictures[1]})[0] for session in (whole, small))
    assert 0 < np.abs(found - wanted).mean() < 0.05 * wanted.std()
