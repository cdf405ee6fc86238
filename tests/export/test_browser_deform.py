"""Deformable convolutions in parts: the same numbers, with fewer samples at once."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from birefnet.export.browser_deform import parts_of, split_deformable_convs
from birefnet.export.deform_node import Deform, read_deform
from tests.export.test_decompose import Case, make_model

SAMPLE = 4  # bytes


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def tell_shapes(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> None:
    """What the exporter notes of every value, which these small graphs do not."""
    inferred = onnx.shape_inference.infer_shapes(model)
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred.graph.value_info)
    assert feed


@pytest.mark.parametrize("parts", [2, 4, 12])
@pytest.mark.parametrize(
    "case",
    [
        Case(height=12),
        Case(height=12, channels=4, kernel=7, pad=3),
        Case(height=12, kernel=1, pad=0),
        Case(height=12, bias=True, mask=False),
        Case(height=12, pad=2, dilation=2),
    ],
)
def test_the_same_numbers(case: Case, parts: int) -> None:
    model, feed = make_model(case)
    tell_shapes(model, feed)
    wanted = run(model, feed)
    columns = case.channels * case.kernel**2 * 12 * case.width * SAMPLE
    assert split_deformable_convs(model, columns // parts) == 1
    assert sum(node.op_type == "DeformConv" for node in model.graph.node) == parts
    onnx.checker.check_model(model)
    np.testing.assert_allclose(run(model, feed), wanted, rtol=1e-4, atol=1e-4)


def test_small_and_strided_ones_stay() -> None:
    for case, column_bytes in ((Case(height=12), 1 << 20), (Case(height=12, stride=2), 1)):
        model, feed = make_model(case)
        tell_shapes(model, feed)
        before = model.SerializeToString()
        assert split_deformable_convs(model, column_bytes) == 0
        assert model.SerializeToString() == before


def test_parts_divide_the_lines() -> None:
    model, _ = make_model(Case(height=12))
    weights = {one.name: one for one in model.graph.initializer}
    node = next(node for node in model.graph.node if node.op_type == "DeformConv")
    deform: Deform = read_deform(onnx, node, weights)
    shape = (1, 18, 12, 12)
    whole = deform.channels * deform.taps * 12 * 12 * SAMPLE
    assert [parts_of(deform, shape, whole // n) for n in (1, 2, 4, 12)] == [1, 2, 4, 12]
    assert parts_of(deform, shape, whole // 5 - 1) == 6
    assert parts_of(deform, shape, 1) == 12
    assert parts_of(deform, (1, 18, None, 12), 1) == 1
