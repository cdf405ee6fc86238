"""OpenVINO graphs in 8 bits, by NNCF: weights alone, or weights and activations.

What suffers from 8 bits stays in float: the network's last layers, whose errors nothing mends, and the arithmetic that
tells deformable convolutions where to look.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from birefnet.data.masks import read_mask
from birefnet.errors import require
from birefnet.export.calibration import calibration_pictures
from birefnet.export.quantise import pair_sums, refuse_saturation
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.openvino_deform import SAMPLES
from birefnet.runtimes.signal_stack import signal_stack_kept

_LAYERS = ("Convolution", "MatMul", "GroupConvolution")
_GROUPED = 5  # axes of a grouped convolution's weights: groups, outputs of each, inputs of each, height, width
_LAST = 3  # layers before the output that stay in float
_SMALL = 64  # constants of fewer values stay float32: halving them saves nothing
_LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """Pictures as the network gets them, (batch, 3, h, w); read anew each time, since NNCF goes through them thrice."""

    files: list[Path]
    spec: InputSpec
    batch: int = 1

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for picture in calibration_pictures(self.files, self.spec):
            yield np.repeat(picture, self.batch, axis=0)

    def __len__(self) -> int:
        return len(self.files)


def quantise(model: Any, pictures: CalibrationSet) -> Any:
    """A float32 `openvino.Model` -> one whose convolutions and matrix products take 8-bit values and weights.

    Args:
        model: left as it is.
        pictures: what the ranges of the activations are found on.
    """
    nncf: Any = require("nncf", "int8")
    with signal_stack_kept(), _silent():
        made = nncf.quantize(
            model,
            nncf.Dataset(pictures),
            subset_size=len(pictures),
            fast_bias_correction=True,
            advanced_parameters=_without_overflow(nncf),
            model_type=nncf.ModelType.TRANSFORMER,  # sums and gates stay in float: better for every backbone here
            ignored_scope=nncf.IgnoredScope(names=last_layers(model), patterns=[f"{SAMPLES}.*"], validate=False),
        )
    check_sums(made)
    return made


def quantise_within(model: Any, pictures: CalibrationSet, masks: list[Path], max_drop: float) -> Any:
    """`quantise`, and then, one after another, back to float whatever costs most, until the rest costs little enough.

    Args:
        model: left as it is; float32.
        pictures: what the ranges of the activations are found on, and what both are judged by.
        masks: one for each of `pictures`.
        max_drop: how much the mean absolute error of the alpha, in [0, 1], may rise.
    """
    nncf: Any = require("nncf", "int8")
    examples = [(picture, _mask_at(mask, pictures.spec)) for picture, mask in zip(pictures, masks, strict=True)]
    with signal_stack_kept(), _silent():
        made = nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(pictures),
            nncf.Dataset(examples),
            _closeness,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            subset_size=len(pictures),
            fast_bias_correction=True,
            advanced_quantization_parameters=_without_overflow(nncf),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=last_layers(model), patterns=[f"{SAMPLES}.*"], validate=False),
        )
    check_sums(made)
    return made


def check_sums(model: Any) -> None:
    """As `birefnet.export.quantise.check_sums`, for an `openvino.Model`.

    Raises:
        WeightsError: if two products of 8-bit weights could saturate.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() != "i8":
            continue
        steps = np.asarray(node.get_data())
        if steps.ndim == 2:  # of a product: outputs lie along either axis
            refuse_saturation(node.get_friendly_name(), max(pair_sums(steps, 0), pair_sums(steps, 1)))
        elif steps.ndim == _GROUPED and steps.shape[2] == 1:
            continue  # depthwise: kernels widen each product before it is added (`tests/export/test_old_processors.py`)
        elif steps.ndim > 2:
            outputs = steps.reshape(-1, *steps.shape[2:]) if steps.ndim == _GROUPED else steps
            refuse_saturation(node.get_friendly_name(), pair_sums(outputs, 0))


def _without_overflow(nncf: Any) -> Any:
    """Weights in half of the range, in every layer: as `birefnet.export.quantise` tells, older x86 would saturate.

    By itself NNCF does so in first layers alone.
    """
    return nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)


def _closeness(model: Any, examples: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> tuple[float, Any]:
    """1 - the mean absolute error of a compiled model's alpha, over all examples, and of each."""
    found = []
    for picture, mask in examples:
        logits = np.asarray(model(picture)[0], np.float64)
        found.append(1 - float(np.abs(1 / (1 + np.exp(-logits)) - mask).mean()))
    return float(np.mean(found)), found


def _mask_at(path: Path, spec: InputSpec) -> NDArray[np.float32]:
    """(1, 1, spec.height, spec.width) in [0, 1]."""
    from PIL import Image

    grey = Image.fromarray(read_mask(path).accepted("calibration"))
    scaled = grey.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32)[None, None] / np.float32(255)


def compress_weights(model: Any) -> Any:
    """A float32 `openvino.Model` -> one whose weights are 8-bit, with a scale and a zero point per output."""
    nncf: Any = require("nncf", "int8")
    with signal_stack_kept(), _silent():
        return nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT8_ASYM,
            ignored_scope=nncf.IgnoredScope(names=last_layers(model), validate=False),
        )


def store_half(model: Any) -> None:
    """Each float32 constant of some size becomes a float16 one, widened when the file is loaded; changed in place.

    OpenVINO's own writer does not do that to a graph that holds 8-bit weights already.
    """
    op: Any = require("openvino.opset13", "openvino")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() != "f32":
            continue
        values = node.get_data()
        finite = values[np.isfinite(values)]
        if values.size < _SMALL or not np.abs(finite).max(initial=0) <= _LARGEST_HALF:
            continue
        half = op.constant(values.astype(np.float16))
        half.set_friendly_name(f"{node.get_friendly_name()}/half")
        wide = op.convert(half, "f32").output(0)
        for port in list(node.output(0).get_target_inputs()):
            port.replace_source_output(wide)


def last_layers(model: Any) -> list[str]:
    """The names of the layers nearest to the output, going back from it breadth first."""
    found: list[str] = []
    seen: set[str] = set()
    front = [result.get_node() for result in model.outputs]
    while front and len(found) < _LAST:
        node = front.pop(0)
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        if node.get_type_name() in _LAYERS:
            found.append(node.get_friendly_name())
        front += [value.get_node() for value in node.input_values()]
    return found


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """NNCF draws bars and tables on the screen and logs advice, none of which is for a user of ours."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
