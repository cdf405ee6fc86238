"""The graph for browsers: the network's own numbers, and less in memory at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from birefnet.export import browser_graph
from birefnet.export.browser_graph import to_browser_graph
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
    assert model.ir_version <= 10
    picture = example_picture(TINY_SPEC)
    with torch.inference_mode():
        wanted = tiny(picture).logits.numpy()
    np.testing.assert_allclose(logits_of(model, picture), wanted, rtol=1e-4, atol=1e-3)
