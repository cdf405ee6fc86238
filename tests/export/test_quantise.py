"""Which layers get 8 bits, and which are too delicate."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from birefnet.errors import WeightsError
from birefnet.export.decompose import decompose
from birefnet.export.quantise import check_sums, float_nodes, pair_sums, quantise
from tests.export import integers


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


def chain() -> Any:
    """Two plain convolutions and one in groups, a product, a Gemm; three more in float. Strong weights of one sign."""
    rng = np.random.default_rng(0)
    stored = {
        "w1": np.abs(rng.standard_normal((8, 3, 3, 3))) + 1,
        "b1": rng.standard_normal(8),
        "w2": np.abs(rng.standard_normal((8, 1, 3, 3))) * 1e-3,
        "b2": 1e4 * rng.standard_normal(8),  # more than 32 bits hold in steps of the weights' own size
        "w3": np.concatenate([np.zeros((1, 8, 1, 1)), -1 - np.abs(rng.standard_normal((7, 8, 1, 1)))]),  # a dead output
        "m": rng.standard_normal((16, 16)) + 2,
        "g": rng.standard_normal((16, 16)),
        "gb": rng.standard_normal(16),
        **{name: rng.standard_normal((16, 16)) / 4 for name in ("f1", "f2", "f3")},
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "c1", pads=[1] * 4),
        node("Relu", ["c1"], ["r1"], "r1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "c2", pads=[1] * 4, group=8),
        node("Conv", ["c2", "w3"], ["c3"], "c3"),
        node("MatMul", ["c3", "m"], ["p"], "p"),
        node("ReduceMean", ["p"], ["mean"], "mean", keepdims=0, noop_with_empty_axes=0),
        node("Reshape", ["p", "rows"], ["flat"], "flat"),
        node("Gemm", ["flat", "g", "gb"], ["gemm"], "gemm", transB=1),
        node("Add", ["gemm", "mean"], ["sum"], "sum"),
        node("MatMul", ["sum", "f1"], ["s1"], "s1"),
        node("MatMul", ["s1", "f2"], ["s2"], "s2"),
        node("MatMul", ["s2", "f3"], ["y"], "y"),
    ]
    floats = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in stored.items()]
    rows = onnx.numpy_helper.from_array(np.array([-1, 16]), "rows")
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 16))]
    graph = helper.make_graph(nodes, "chain", ports, result, [*floats, rows])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def seen() -> list[np.ndarray]:
    return [np.random.default_rng(seed).random((1, 3, 16, 16)).astype(np.float32) for seed in range(4)]


def test_every_kind_of_layer_is_quantised_and_close() -> None:
    model = chain()
    made = quantise(model, seen())
    makers = {name: node.op_type for node in made.graph.node for name in node.output}
    done = {node.name for node in made.graph.node if makers.get(([*node.input, "", ""])[1]) == "DequantizeLinear"}
    assert done >= {"c1", "c2", "c3", "p", "gemm"} and not done & {"s1", "s2", "y"}
    whole, small = (onnxruntime.InferenceSession(one.SerializeToString()) for one in (model, made))
    wanted, found = (session.run(None, {"x": seen()[1]})[0] for session in (whole, small))
    assert 0 < np.abs(found - wanted).mean() < 0.05 * wanted.std()


@pytest.mark.parametrize("order", ["channels first", "channels last"])
def test_an_integer_evaluation_gives_the_same_with_saturation_and_without(order: integers.Order) -> None:
    """Of each convolution: ONNX Runtime here, exact integers, and pairs of products that saturate at 16 bits."""
    layers = integers.layers_of(quantise(chain(), seen()))
    assert set(layers) == {"c1", "c2", "c3"}
    for name, layer in layers.items():
        given, found = layer.run_here(seen()[1])
        exact, saturated = layer.sums(given), layer.sums(given, saturating=order)
        assert np.array_equal(exact, saturated), name
        off = np.abs(layer.rounded(exact).astype(int) - found)
        assert off.max() <= 1 and (off > 0).mean() < 0.01, name  # ties, where the size of the steps is rounded


def test_full_8_bit_weights_would_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    """What files had before: the evaluation above tells, and so does the arithmetic that refuses them."""
    monkeypatch.setattr("birefnet.export.quantise._WEIGHT_STEPS", 127)
    with pytest.raises(WeightsError, match=r"processors without VNNI: .* add up to 6\d{4}, and 32767 is the most"):
        quantise(chain(), seen())
    monkeypatch.setattr("birefnet.export.quantise.check_sums", lambda graph: None)
    made = quantise(chain(), seen())
    layer = integers.layers_of(made)["c1"]
    bright = np.full((1, 3, 16, 16), 1, np.float32)
    given, _ = layer.run_here(bright)
    assert not np.array_equal(layer.sums(given), layer.sums(given, saturating="channels last"))
    monkeypatch.undo()
    with pytest.raises(WeightsError):
        check_sums(made.graph)


@pytest.mark.parametrize(
    ("weights", "largest"),
    [([64, 64, -64], 128), ([127, -127, 0], 127), ([-127, -2, 126], 129), ([127], 127), ([0, 0], 0), ([-128, 3], 128)],
)
def test_the_largest_sum_of_two_products(weights: list[int], largest: int) -> None:
    steps = np.array([weights], np.int8)
    assert pair_sums(steps, 0) == 255 * largest == pair_sums(steps.T, -1)
    # The other way: every pair of products of the extreme activations.
    products = [a * w for w in [*weights, 0] for a in (0, 255)]
    pairs = [
        abs(products[i] + products[j]) for i in range(len(products)) for j in range(len(products)) if i // 2 != j // 2
    ]
    assert max(pairs) == 255 * largest
