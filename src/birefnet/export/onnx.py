"""A network as an ONNX file: one input `input_image`, one output `logits`, and the proof that both agree.

Legend: S side of the square input.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from birefnet.errors import ConfigError, WeightsError, require
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.onnx import OnnxRuntime

log = logging.getLogger(__name__)

OPSET = 18
LARGEST_ERROR = 5e-3  # of the alpha, for weights stored in half precision; float32 stays below 1e-5
_SMALL = 64  # initialisers of fewer values stay float32: halving them saves nothing


class _LogitsOnly(nn.Module):
    """The network with a tensor for an output, which is all that an ONNX graph can give."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_image: Tensor) -> Tensor:
        logits: Tensor = self.network(input_image).logits
        return logits


def export_onnx(network: BiRefNet, path: Path, spec: InputSpec, *, half: bool = False, source: str = "") -> float:
    """Write `network` as an ONNX file of fixed size and compare both.

    Args:
        network: with attention "none" or "aspp"; deformable convolutions cannot be exported yet.
        path: the file to write; replaced whole or not at all.
        spec: size, mean and std of the input, which go into the file's metadata.
        half: store the weights in half precision; they are computed in single precision all the same.
        source: where the weights came from, for the metadata.

    Returns:
        The largest difference of the alphas of both, in [0, 1], as also written into the metadata.

    Raises:
        ConfigError: if the network has deformable convolutions.
        WeightsError: if the file's alpha differs by more than 1e-5 (half: 5e-3); the file is removed.
        MissingExtra: without onnx and onnxscript.
    """
    if "aspp_deformable" in (network.config.attention, network.config.squeeze):
        raise ConfigError("Networks with deformable convolutions cannot be exported to ONNX yet")
    onnx: Any = require("onnx", "export")
    require("onnxscript", "export")
    folded = fold_batch_norms(network)
    picture = _sample(spec)
    program = torch.onnx.export(
        _LogitsOnly(folded).eval(),
        (picture,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["input_image"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    if half:
        _store_half(onnx, model.graph)
    _forget_origin(model)
    facts = {
        "size": [spec.width, spec.height],
        "mean": spec.mean,
        "std": spec.std,
        "activation": "sigmoid",
        "upsample": spec.upsample,
        "weights": "float16, computed in float32" if half else "float32",
        "source": source,
    }
    return _write_proved(onnx, model, path, facts, network, picture.numpy(), LARGEST_ERROR if half else 1e-5)


def _sample(spec: InputSpec) -> Tensor:
    """A normalised picture (1, 3, height, width): a bright disc on soft shapes, and grain; the same at every call."""
    generator = torch.Generator().manual_seed(0)
    shapes = torch.randn(1, 3, 6, 6, generator=generator)
    grain = torch.randn(1, 3, spec.height, spec.width, generator=generator)
    soft = nn.functional.interpolate(shapes, (spec.height, spec.width), mode="bicubic", align_corners=False)
    y = torch.linspace(-1, 1, spec.height)[:, None]
    x = torch.linspace(-1, 1, spec.width)
    return soft + 0.2 * grain + 2 * (y * y + x * x < 0.3)


def fold_batch_norms(network: BiRefNet) -> BiRefNet:
    """A copy in which each batch norm that follows a convolution is part of it; the same function in eval mode."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        for conv, norm in _CONV_NORM:
            a, b = getattr(module, conv, None), getattr(module, norm, None)
            if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(a, b))
                setattr(module, norm, nn.Identity())
    return folded


# Attributes of one module that are always used one after the other.
_CONV_NORM = (("conv", "norm"), ("conv_in", "norm_in"), ("conv_out", "norm_out"), ("fuse", "fuse_norm"))


def _forget_origin(model: Any) -> None:
    """Drop what the exporter notes of the machine: stack traces with its paths, in every node and value."""
    parts = [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info, *model.functions]
    for part in (*parts, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


def _store_half(onnx: Any, graph: Any) -> None:
    """Each large float32 initialiser becomes a float16 one and a cast, which runtimes compute once, when they load."""
    casts = []
    for initialiser in graph.initializer:
        values = onnx.numpy_helper.to_array(initialiser)
        if values.dtype != np.float32 or values.size < _SMALL:
            continue
        name = initialiser.name
        initialiser.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], f"cast.{name}", to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _write_proved(
    onnx: Any,
    model: Any,
    path: Path,
    facts: dict[str, Any],
    network: BiRefNet,
    picture: np.ndarray[Any, np.dtype[np.float32]],
    tolerance: float,
) -> float:
    """Write the file beside its place, compare it with the network, write the error into it, and move it."""
    beside = path.with_suffix(".part.onnx")
    try:
        _save(onnx, model, beside, facts)
        error = _alpha_error(network, OnnxRuntime(beside, device="cpu"), picture)
        if not error <= tolerance:
            raise WeightsError(f"The exported file's alpha differs by {error:.1e}, allowed are {tolerance:.0e}")
        _save(onnx, model, beside, {**facts, "largest_alpha_error": error})
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    log.info("%s: largest alpha difference %.1e", path, error)
    return error


def _save(onnx: Any, model: Any, path: Path, facts: dict[str, Any]) -> None:
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    path.write_bytes(model.SerializeToString())


@torch.no_grad()
def _alpha_error(network: BiRefNet, runtime: OnnxRuntime, picture: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    ours = network.eval()(torch.from_numpy(picture)).logits.sigmoid()
    theirs = torch.from_numpy(runtime(picture)).sigmoid()
    return float((ours - theirs).abs().max())
