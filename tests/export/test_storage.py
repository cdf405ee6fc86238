"""Weights in fewer bits, and equal ones kept once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from birefnet.export import storage
from birefnet.export.folding import fold_rearrangements
from birefnet.export.storage import drop_unused

Array = NDArray[Any]


def layers(*, transposed: bool = False) -> tuple[Any, dict[str, Array]]:
    """A convolution, a matrix product and a Gemm, one after the other."""
    rng = np.random.default_rng(0)
    stored = {
        "kernel": rng.standard_normal((16, 8, 3, 3)),
        "bias": rng.standard_normal(16),
        "matrix": 10 * rng.standard_normal((16, 80)),
        "gemm": rng.standard_normal((16, 80) if transposed else (80, 16)),
    }
    stored["kernel"][3] = 0  # a dead output
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["a"], "conv"),
        helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
        helper.make_node("Flatten", ["b"], ["c"], "flatten"),
        helper.make_node("MatMul", ["c", "matrix"], ["d"], "product"),
        helper.make_node("Gemm", ["d", "gemm"], ["y"], "gemm", transB=int(transposed)),
    ]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8, 5, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 16))],
        [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in stored.items()],
    )
    feed = {"x": rng.standard_normal((1, 8, 5, 5)).astype(np.float32)}
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), feed


def run(model: Any, feed: dict[str, Array]) -> Array:
    onnx.checker.check_model(model, full_check=True)
    (output,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)
    return np.asarray(output)


def types(model: Any) -> dict[str, int]:
    return {one.name: one.data_type for one in model.graph.initializer}


def test_half_precision_of_all_but_small_ones() -> None:
    model, feed = layers()
    wanted = run(model, feed)
    storage.store_half(model.graph)
    np.testing.assert_allclose(run(model, feed), wanted, atol=2e-3 * np.abs(wanted).max())
    found = types(model)
    assert found["kernel.half"] == found["matrix.half"] == TensorProto.FLOAT16
    assert found["bias"] == TensorProto.FLOAT


def test_what_half_precision_cannot_hold_stays() -> None:
    model, feed = layers()
    matrix = next(one for one in model.graph.initializer if one.name == "matrix")
    matrix.CopyFrom(onnx.numpy_helper.from_array(storage.values_of(matrix) * 1e5, "matrix"))
    wanted = run(model, feed)
    storage.store_half(model.graph)
    assert types(model)["matrix"] == TensorProto.FLOAT
    np.testing.assert_allclose(run(model, feed), wanted, atol=2e-3 * np.abs(wanted).max())


def test_eight_bits_with_a_scale_per_output() -> None:
    for transposed in (False, True):
        model, feed = layers(transposed=transposed)
        wanted = run(model, feed)
        storage.store_int8(model.graph)
        np.testing.assert_allclose(run(model, feed), wanted, atol=0.02 * np.abs(wanted).max())
        found = {one.name: one for one in model.graph.initializer}
        for name, outputs in (("kernel", 16), ("matrix", 80), ("gemm", 16)):
            assert found[f"{name}.steps"].data_type == TensorProto.INT8
            assert list(found[f"{name}.scale"].dims) == [outputs]


def test_named_layers_keep_their_weights() -> None:
    model, _ = layers()
    storage.store_int8(model.graph, keep=frozenset({"product"}))
    assert types(model)["matrix"] == TensorProto.FLOAT and types(model)["kernel.steps"] == TensorProto.INT8


def test_small_layers_are_found_and_spared() -> None:
    """The kernel has 1152 weights, the matrix and the Gemm 1280 each: 3712."""
    model, _ = layers()
    graph = model.graph
    assert storage.smallest_layers(graph, 0.3) == frozenset()
    assert storage.smallest_layers(graph, 1152 / 3712) == {"conv"}
    assert storage.smallest_layers(graph, 0.7) == {"conv", "product"}  # of two alike the first
    assert storage.smallest_layers(graph, 1) == {"conv", "product", "gemm"}
    assert storage.smallest_layers(graph, 0.5, keep=frozenset({"conv"})) == {"product"}
    storage.store_int8(graph, keep=storage.smallest_layers(graph, 0.4))
    assert types(model)["kernel"] == TensorProto.FLOAT and types(model)["matrix.steps"] == TensorProto.INT8


def test_equal_initialisers_become_one() -> None:
    model, feed = layers()
    for name in ("kernel", "matrix"):
        twin = onnx.TensorProto()
        twin.CopyFrom(next(one for one in model.graph.initializer if one.name == name))
        twin.name = f"{name}2"
        model.graph.initializer.append(twin)
    model.graph.node[0].input[1] = "kernel2"
    wanted = run(model, feed)
    storage.share_initialisers(model.graph)
    assert set(types(model)) == {"kernel", "bias", "matrix", "gemm"}
    np.testing.assert_array_equal(run(model, feed), wanted)


def test_weights_are_rearranged_before_and_once() -> None:
    """A weight that is transposed twice, one that is split, and a mask that is better kept as a rule."""
    rng = np.random.default_rng(0)
    weight, joined = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 6), (4, 8)))
    stored = {"weight": weight, "joined": joined, "sizes": np.array([3, 5]), "one": np.ones((1, 4), np.float32)}
    stored["shape"] = np.array([100, 4])
    nodes = [
        helper.make_node("Transpose", ["weight"], ["turned"], perm=[1, 0]),
        helper.make_node("Transpose", ["weight"], ["again"], perm=[1, 0]),
        helper.make_node("Split", ["joined", "sizes"], ["left", "right"], axis=1),
        helper.make_node("Expand", ["one", "shape"], ["rule"]),
        helper.make_node("MatMul", ["x", "turned"], ["a"]),
        helper.make_node("MatMul", ["x", "again"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("MatMul", ["c", "left"], ["d"]),
        helper.make_node("MatMul", ["rule", "d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "weights",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (100, 3))],
        [onnx.numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    feed = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    wanted = run(model, feed)
    assert fold_rearrangements(model.graph) == 3
    assert [node.op_type for node in model.graph.node] == ["Expand", "MatMul", "MatMul", "Add", "MatMul", "MatMul"]
    assert set(types(model)) == {"turned", "left", "one", "shape"}
    np.testing.assert_array_equal(run(model, feed), wanted)


def test_what_nobody_asks_for_leaves() -> None:
    model, _ = layers()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3), "more"))
    drop_unused(model.graph)
    assert set(types(model)) == {"kernel", "bias", "matrix", "gemm"}
