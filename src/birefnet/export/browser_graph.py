"""A network as an ONNX graph for browsers: few operations, and little memory at once."""

from __future__ import annotations

from typing import Any

from birefnet.export.browser_deform import split_deformable_convs
from birefnet.export.folding import fold_rearrangements
from birefnet.export.graph import to_onnx
from birefnet.export.storage import share_initialisers
from birefnet.network import BiRefNet
from birefnet.network.inference import fixed_form
from birefnet.pixels.prepare import InputSpec

_IR_VERSION = 10  # opset 20 needs no more


def to_browser_graph(network: BiRefNet, spec: InputSpec) -> Any:
    """The network's graph (an `onnx.ModelProto`, opset 20, float32) for one picture of the spec's size."""
    model = to_onnx(fixed_form(network, spec.height, spec.width), spec)
    model.ir_version = min(model.ir_version, _IR_VERSION)
    split_deformable_convs(model)
    fold_rearrangements(model.graph)
    share_initialisers(model.graph)
    return model
