"""A tiny real network in an ONNX file, in place of a trained one: whatever is brighter than mid-grey is the subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
STEEPNESS = 40.0  # of the logits: a brightness of 0.5 + 0.1 gives a logit of 4


def brightness_model(
    path: Path,
    *,
    size: int | tuple[int, int] | None = 64,
    steepness: float = STEEPNESS,
    bias: float = 0.0,
    batch: int | str = "batch",
    metadata: dict[str, Any] | None = None,
    outputs: tuple[str, ...] = ("logits",),
    half: bool = False,
    sigmoid: bool = False,
) -> Path:
    """Write the network: input `input_image` (N, 3, h, w), output(s) steepness * (mean of RGB - 0.5) + bias.

    Args:
        size: a side or (width, height) of the fixed input; None for any.
        batch: the first dimension, 1 or a name.
        metadata: entries of `metadata_props`, written as JSON; None for those of an exported file.
        outputs: names; each has the same values.
        half: float16 input and output.
        sigmoid: end with the sigmoid.
    """
    sides = (size, size) if isinstance(size, int) else size
    width, height = sides or ("width", "height")
    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    weight = np.array(STD).reshape(1, 3, 1, 1) * steepness / 3
    constants = {"weight": weight.astype(dtype), "bias": np.array([(np.mean(MEAN) - 0.5) * steepness + bias], dtype)}
    nodes = [helper.make_node("Conv", ["input_image", "weight", "bias"], ["map"])]
    nodes += [helper.make_node("Sigmoid" if sigmoid else "Identity", ["map"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("input_image", kind, [batch, 3, height, width])],
        [helper.make_tensor_value_info(name, kind, [batch, 1, height, width]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata is None:
        metadata = {"mean": MEAN, "std": STD, "activation": "sigmoid", "source": "brightness"}
        if sides:
            metadata["size"] = list(sides)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save(model, path)
    return path
