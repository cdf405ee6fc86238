"""The graph for browsers: the network's own numbers, and less in memory at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from birefnet.export import browser_graph
from birefnet.export.browser_graph import MOST_INPUTS, narrow_concats, to_browser_graph
from birefnet.export.graph import INPUT, OUTPUT, example_picture
from birefnet.network import BiRefNet
from tests.export.conftest import TINY_SPEC


def logits_of(model: Any, picture: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {INPUT: picture.numpy()})[0]


def test_the_networks_own_logits(tiny: BiRefNet, monkeypatch: Any) -> None:
    plain = browser_graph.split_deformable_convs
    monkeypatch.setattr(browser_graph, "split_deformable_convs", lambda model: plain(model, 1000))
    model = to_browser_graph(tiny, TINY_SPEC)
    onnx.checker.check_model(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("DeformConv") > 20 and "GatherND" not in kinds
    assert max(len(node.input) for node in model.graph.node) <= MOST_INPUTS
    assert model.ir_version <= 10
    picture = example_picture(TINY_SPEC)
    with torch.inference_mode():
        wanted = tiny(picture).logits.numpy()
    np.testing.assert_allclose(logits_of(model, picture), wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("count", [1, 7, 8, 15, 60])
def test_no_operator_has_more_inputs_than_a_shader_has_buffers(count: int) -> None:
    names = [f"x{index}" for index in range(count)]
    values = {name: np.full((1, index % 3 + 1), index, np.float32) for index, name in enumerate(names)}
    ports = [onnx.helper.make_tensor_value_info(name, 1, values[name].shape) for name in names]
    node = onnx.helper.make_node("Concat", names, ["y"], "all", axis=1)
    graph = onnx.helper.make_graph([node], "g", ports, [onnx.helper.make_tensor_value_info("y", 1, [1, None])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    narrow_concats(model.graph)
    onnx.checker.check_model(model)
    assert max(len(one.input) for one in model.graph.node) <= MOST_INPUTS
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, values)[0], np.concatenate(list(values.values()), axis=1))
