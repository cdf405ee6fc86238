"""Deformable convolutions out of common operators: the same numbers, in every runtime."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from birefnet.errors import ConfigError
from birefnet.export import decompose as room
from birefnet.export.decompose import decompose
from birefnet.export.deform_node import Deform, Side, Sizes
from birefnet.export.making import Maker

Array = NDArray[Any]
Feed = dict[str, Array]


class Case(NamedTuple):
    """One deformable convolution: batch, channels in and out, size, and its kernel's attributes."""

    batch: int = 1
    channels: int = 5
    outputs: int = 4
    height: int = 9
    width: int = 12
    kernel: int = 3
    stride: int = 1
    pad: int = 1
    dilation: int = 1
    bias: bool = False
    mask: bool = True


CASES = {
    "as in the networks": Case(),
    "many taps": Case(channels=4, kernel=7, pad=3),
    "one tap": Case(kernel=1, pad=0),
    "batch and bias": Case(batch=3, bias=True),
    "stride": Case(batch=2, stride=2, height=8, width=7),
    "dilation, no mask": Case(pad=2, dilation=2, mask=False),
}


def make_model(case: Case, *, dynamic: bool = False) -> tuple[Any, Feed]:
    """A graph of one DeformConv node and inputs whose offsets also look far outside."""
    rng = np.random.default_rng(0)
    taps = case.kernel**2
    reach = case.dilation * (case.kernel - 1) + 1
    lines, across = ((side + 2 * case.pad - reach) // case.stride + 1 for side in (case.height, case.width))
    weight = rng.standard_normal((case.outputs, case.channels, case.kernel, case.kernel)).astype(np.float32)
    stored = [onnx.numpy_helper.from_array(weight, "weight")]
    feed = {
        "x": rng.standard_normal((case.batch, case.channels, case.height, case.width)).astype(np.float32),
        "offset": (4 * rng.standard_normal((case.batch, 2 * taps, lines, across))).astype(np.float32),
    }
    feed["offset"][:, :, 0, :3] = (-1e9, 1e9, 0.0)
    if case.mask:
        feed["mask"] = rng.random((case.batch, taps, lines, across)).astype(np.float32)
    if case.bias:
        stored.append(onnx.numpy_helper.from_array(rng.standard_normal(case.outputs).astype(np.float32), "bias"))
    names = ["x", "weight", "offset", "bias" if case.bias else "", *(["mask"] if case.mask else [])]
    node = helper.make_node(
        "DeformConv",
        names,
        ["y"],
        "deform",
        strides=[case.stride] * 2,
        pads=[case.pad] * 4,
        dilations=[case.dilation] * 2,
    )
    free = {"x": ("b", case.channels, "H", "W"), "offset": ("b", 2 * taps, "h", "w"), "mask": ("b", taps, "h", "w")}
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, free[name] if dynamic else array.shape)
        for name, array in feed.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("b", case.outputs, "h", "w"))
    graph = helper.make_graph([node], "deform", ports, [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), feed


def run(model: Any, feed: Feed) -> Array:
    (output,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)
    return np.asarray(output)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_same_numbers_in_both_evaluators(case: Case, dynamic: bool) -> None:
    model, feed = make_model(case, dynamic=dynamic)
    wanted = run(model, feed)
    assert decompose(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert not {"DeformConv", "GatherND", "GridSample"} & {node.op_type for node in model.graph.node}
    assert wanted.std() > 0.1
    np.testing.assert_allclose(run(model, feed), wanted, atol=2e-5)
    np.testing.assert_allclose(ReferenceEvaluator(model).run(None, feed)[0], wanted, atol=2e-5)


def test_openvino_reads_it_without_an_extension() -> None:
    openvino: Any = pytest.importorskip("openvino")
    model, feed = make_model(CASES["batch and bias"], dynamic=True)
    wanted = run(model, feed)
    with pytest.raises(Exception, match="DeformConv"):
        openvino.Core().read_model(model.SerializeToString())
    decompose(model)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    np.testing.assert_allclose(compiled(feed)[0], wanted, atol=2e-5)


def test_taps_come_in_groups_that_keep_memory_small(monkeypatch: pytest.MonkeyPatch) -> None:
    model, feed = make_model(CASES["many taps"])
    wanted = run(model, feed)
    monkeypatch.setattr(room, "_GROUP_VALUES", 10 * 9 * 12 * 4)  # ten taps at most
    decompose(model)
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    assert len(products) == 5
    np.testing.assert_allclose(run(model, feed), wanted, atol=2e-5)


def test_groups_are_of_one_size_and_within_bounds() -> None:
    sizes = Sizes(Side("", 256), Side("", 256), Side("", 256), Side("", 256), "", 1)
    deform = a_deform(channels=64, kernel=(7, 7))
    step = room.group_size(deform, sizes)
    assert step * 256 * 256 * 64 <= 1 << 24 and step == 4
    unknown = Sizes(Side("", None), Side("", None), Side("", None), Side("", None), "", None)
    assert room.group_size(deform, unknown) == step
    assert room.group_size(a_deform(channels=64, kernel=(1, 1)), sizes) == 1


def test_only_deformable_nodes_are_touched_and_their_weights_leave() -> None:
    model, _ = make_model(CASES["as in the networks"])
    model.graph.node.append(helper.make_node("Relu", ["y"], ["z"], "after"))
    decompose(model)
    assert model.graph.node[-1].name == "after" and model.graph.node[-2].output[0] == "y"
    assert "weight" not in {one.name for one in model.graph.initializer}
    assert decompose(model) == 0


def test_groups_of_channels_are_refused_in_words() -> None:
    model, _ = make_model(CASES["as in the networks"])
    model.graph.node[0].attribute.append(helper.make_attribute("offset_group", 2))
    with pytest.raises(ConfigError, match="cannot be decomposed"):
        decompose(model)


def a_deform(**changes: Any) -> Deform:
    said: dict[str, Any] = {"x": "x", "weight": "weight", "offset": "offset", "mask": "mask", "bias": "", "y": "y"}
    said |= {"channels": 2, "outputs": 3, "kernel": (3, 3), "stride": (1, 1), "pad": (1, 1), "dilation": (1, 1)}
    return Deform(**(said | changes))


def evaluate(make: Maker, feed: Feed, *outputs: str) -> list[Array]:
    """What the nodes made so far compute."""
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feed.items()
    ]
    wanted = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(make.nodes, "part", ports, wanted, make.initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found: list[Array] = ReferenceEvaluator(model).run(list(outputs), feed)
    return found


def test_the_table_has_two_rings_of_zeros() -> None:
    make, x = Maker("t"), np.arange(1, 13, dtype=np.float32).reshape(1, 2, 2, 3)
    (table,) = evaluate(make, {"x": x}, room.make_table(make, "x", 2))
    assert table.shape == (6 * 7, 2)
    square = table.reshape(6, 7, 2)
    np.testing.assert_array_equal(square[2:4, 2:5], x[0].transpose(1, 2, 0))
    assert table.sum() == x.sum()


def test_corners_are_the_rows_above_and_left() -> None:
    make, deform = Maker("t"), a_deform(kernel=(1, 1), pad=(0, 0))
    sizes = room.find_sizes(make, deform, {"x": (1, 2, 4, 5), "offset": (1, 2, 4, 5)})
    down, right = np.zeros((1, 4, 5, 1), np.float32), np.zeros((1, 4, 5, 1), np.float32)
    down[0, 1, 1], right[0, 1, 1] = 2, -1  # from (1, 1) to (3, 0)
    down[0, 0, 0], right[0, 0, 0] = -1e9, 1e9  # far outside
    (corner,) = evaluate(
        make, {"down": down, "right": right}, room.make_corners(make, deform, ("down", "right"), sizes)
    )
    assert corner.dtype == np.int32
    assert corner[0, 1, 1, 0] == (3 + 2) * 9 + 0 + 2
    assert corner[0, 2, 3, 0] == (2 + 2) * 9 + 3 + 2
    assert corner[0, 0, 0, 0] == 0 * 9 + 5 + 2  # among the zeros


@pytest.mark.parametrize("known", [True, False])
def test_a_lattice_is_a_constant_or_counted(known: bool) -> None:
    make = Maker("t")
    side = Side(make.int32(4), 4 if known else None)
    places = room.make_lattice(make, side, 2, np.array([-1, 0, 1], np.int32), axis=0)
    (found,) = evaluate(make, {}, make("Identity", places))
    np.testing.assert_array_equal(found[:, 0], [[-1, 0, 1], [1, 2, 3], [3, 4, 5], [5, 6, 7]])


def test_pictures_begin_one_table_after_another() -> None:
    make, deform = Maker("t"), a_deform()
    sizes = room.find_sizes(make, deform, {"x": (3, 2, 4, 5), "offset": (3, 18, 4, 5)})
    (rows,) = evaluate(make, {}, room.make_first_rows(make, deform, sizes))
    assert rows.ravel().tolist() == [0, 8 * 9, 2 * 8 * 9] and rows.shape == (3, 1, 1, 1)


@pytest.mark.parametrize("mask", [True, False])
def test_shares_are_bilinear_and_weighed(mask: bool) -> None:
    make, deform = Maker("t"), a_deform(kernel=(1, 1), mask="mask" if mask else "")
    feed = {"down": np.full((1, 1, 1, 1), -0.75, np.float32), "right": np.full((1, 1, 1, 1), 1.5, np.float32)}
    feed |= {"down0": np.floor(feed["down"]), "right0": np.floor(feed["right"])}
    if mask:
        feed["mask"] = np.full((1, 1, 1, 1), 2, np.float32)
    names = room.make_shares(make, deform, ("down", "right"), ("down0", "right0"))
    shares = [float(share.item()) for share in evaluate(make, feed, *names)]
    assert shares == [part * (2 if mask else 1) for part in (0.375, 0.375, 0.125, 0.125)]


def test_columns_are_sums_of_four_rows() -> None:
    make, deform = Maker("t"), a_deform(kernel=(1, 2))
    sizes = Sizes(Side("", 1), Side("", 1), Side("", 1), Side("", 1), make.int32(3), 1)
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    feed = {"table": table, "corner": np.array([0, 1], np.int32).reshape(1, 1, 1, 2)}
    feed |= {f"share{index}": np.array([index, 1], np.float32).reshape(1, 1, 1, 2) for index in range(4)}
    shares = [f"share{index}" for index in range(4)]
    columns = room.make_columns(make, deform, "table", "corner", shares, sizes, slice(0, 2))
    (found,) = evaluate(make, feed, columns)
    first = table[1] * 1 + table[3] * 2 + table[4] * 3
    second = table[1] + table[2] + table[4] + table[5]
    np.testing.assert_array_equal(found, [[*first, *second]])


def test_rows_of_weights_are_in_the_order_of_the_columns() -> None:
    weight = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    rows = room.weight_rows(weight, slice(1, 3))
    assert rows.shape == (6, 2)
    assert rows[0, 1] == weight[1, 0, 0, 1] and rows[5, 0] == weight[0, 2, 1, 0]


def test_equal_constants_are_made_once() -> None:
    make = Maker("t")
    assert make.int64(1, 2) == make.int64(1, 2) != make.int64(2, 1)
    assert make.int32(1) != make.float32(1)
    assert len(make.initialisers) == 4
