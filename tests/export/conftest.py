"""One tiny network and its graph, made once: the exporter takes seconds even for these."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import torch

from birefnet.export import onnx as export
from birefnet.export.graph import example_picture, to_onnx
from birefnet.network import BiRefNet
from birefnet.network.config import BiRefNetConfig
from birefnet.network.inference import inference_form
from birefnet.pixels.prepare import InputSpec
from tests import seeded

TINY_SPEC = InputSpec(width=96, height=64, upsample="guided")


@pytest.fixture(scope="session")
def tiny() -> BiRefNet:
    """A small network: deformable convolutions that look elsewhere, batch norms that do something, a lively alpha."""
    config = BiRefNetConfig(
        backbone="mobilenet_v2",
        squeeze="none",
        context=0,
        inner_width=8,
        picture_input="whole",
        neck_widths=(8, 8, 8, 16),
        picture_width=4,
        attention_width=8,
        gradient_reference=False,
    )
    made = BiRefNet(config).eval()
    made.load_state_dict(seeded.fill(made.state_dict()))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "attention" in name and "offset.weight" in name:
                parameter.mul_(2)
        logits = made(example_picture(TINY_SPEC)).logits
        scale = 2 / logits.std()
        made.decoder.head.weight.mul_(scale)
        made.decoder.head.bias.sub_(logits.mean()).mul_(scale)
    return made  # whose alpha takes all values


@pytest.fixture(scope="session")
def tiny_graph(tiny: BiRefNet) -> Any:
    """The network as an `onnx.ModelProto`; not to be changed."""
    return to_onnx(inference_form(tiny), TINY_SPEC)


@pytest.fixture
def exported(tiny_graph: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Makes `export_onnx` begin with a copy of the graph above; what is in the list is done to the copy first."""
    changes: list[Any] = []

    def copy(*_: Any, **__: Any) -> Any:
        model = onnx.ModelProto()
        model.CopyFrom(tiny_graph)
        for change in changes:
            change(model)
        return model

    monkeypatch.setattr(export, "to_onnx", copy)
    return changes
