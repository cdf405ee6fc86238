"""The graph that every format starts from says nothing of its maker, and keeps what was asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from birefnet.export.graph import OPSET, example_picture, forget_origin
from birefnet.export.options import ExportOptions
from birefnet.pixels.prepare import InputSpec
from tests.export.conftest import TINY_SPEC


def test_ports_shapes_and_opset(tiny_graph: Any) -> None:
    (port,), (out,) = tiny_graph.graph.input, tiny_graph.graph.output
    assert [side.dim_value for side in port.type.tensor_type.shape.dim] == [1, 3, 64, 96]
    assert [side.dim_value for side in out.type.tensor_type.shape.dim] == [1, 1, 64, 96]
    assert (port.name, out.name) == ("input_image", "logits")
    assert tiny_graph.opset_import[0].version == OPSET == 20


def test_deformable_convolutions_are_one_node_each(tiny_graph: Any) -> None:
    nodes = [node for node in tiny_graph.graph.node if node.op_type == "DeformConv"]
    assert len(nodes) == 16  # four stages, four branches
    for node in nodes:
        said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        top, left, bottom, right = said["pads"]
        assert (top, left) == (bottom, right)
        assert len(node.input) == 5 and node.input[3] == "" and node.input[4]  # no bias, but a mask


def test_where_it_was_made_is_forgotten() -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"], doc_string="here")
    node.metadata_props.add(key="stack_trace", value="there")
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1,)) for name in "xy"]
    ports[0].doc_string = "here"
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ports[:1], ports[1:], doc_string="here"))
    forget_origin(model)
    assert b"here" not in model.SerializeToString()


def test_the_example_is_the_same_at_every_call() -> None:
    one, two = example_picture(TINY_SPEC), example_picture(TINY_SPEC)
    assert torch.equal(one, two) and one.shape == (1, 3, 64, 96)
    assert 0.5 < float(one.std()) < 3
    other = example_picture(InputSpec(width=64, height=96)).numpy()
    assert other.shape == (1, 3, 96, 64) and np.isfinite(other).all()


def test_options_fit_each_other() -> None:
    assert ExportOptions().size is None
    for wrong in ({"precision": "fp8"}, {"deform": "flat"}, {"batch": 0}, {"precision": "int8"}):
        with pytest.raises(ValueError, match=r"choose one of|must be 1|needs pictures"):
            ExportOptions(**wrong)  # type: ignore[arg-type]
