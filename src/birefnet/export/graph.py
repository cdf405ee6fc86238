"""A network as an ONNX graph: the exporter's part of every other format that starts from one.

Legend: B batch, H W sides of the input.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from birefnet.errors import require
from birefnet.inputs import MULTIPLE
from birefnet.pixels.prepare import InputSpec

OPSET = 20  # DeformConv is there from 19 on, Gelu from 20 on
INPUT, OUTPUT = "input_image", "logits"
_LARGEST = 4096
_REGISTRATION = "torch.onnx._internal.exporter._registration"  # has a level of its own


class LogitsOnly(nn.Module):
    """A network with a tensor for an output, which is all that a graph can give."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H, W)."""
        logits: Tensor = self.network(input_image).logits
        return logits


def to_onnx(network: nn.Module, spec: InputSpec, *, dynamic: bool = False, batch: int | None = 1) -> Any:
    """The network as an ONNX model in memory (opset 20), deformable convolutions as DeformConv nodes.

    Args:
        network: gives a `Prediction`; in float32, on the CPU. Best is its inference form.
        spec: the size of the input; where it is dynamic, only an example.
        dynamic: heights and widths are any multiples of 32 up to 4096.
        batch: pictures at once; None for any number.

    Returns:
        An `onnx.ModelProto` with the input `input_image` (B, 3, H, W) and the output `logits` (B, 1, H, W), float32,
        which says nothing of the machine that made it.

    Raises:
        MissingExtra: without onnx and onnxscript.
    """
    require("onnx", "export")
    require("onnxscript", "export")
    # An example of one picture, or of equal sides, would make the exporter take the two for the same number.
    width = spec.width + MULTIPLE if dynamic and spec.width == spec.height else spec.width
    example = torch.zeros(2 if batch is None else batch, 3, spec.height, width)
    with _silent():
        program = torch.onnx.export(
            LogitsOnly(network).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(_free_sides(dynamic, batch),),
            custom_translation_table={_deform_operator(): _deform_conv},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    forget_origin(model)
    return model


@contextmanager
def _silent() -> Iterator[None]:
    """The exporter warns of libraries that it misses and of what it will change: nothing that a user could mend."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", _REGISTRATION, "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _free_sides(dynamic: bool, batch: int | None) -> dict[int, Any] | None:
    free: dict[int, Any] = {}
    if batch is None:
        free[0] = torch.export.Dim("batch", min=1, max=1024)
    if dynamic:
        height, width = (torch.export.Dim(name, min=2, max=_LARGEST // MULTIPLE) for name in ("rows", "columns"))
        free |= {2: MULTIPLE * height, 3: MULTIPLE * width}
    return free or None


def _deform_operator() -> Any:
    import birefnet.network.deform  # noqa: F401  (defines it)

    return torch.ops.birefnet.deform_conv2d.default


def _deform_conv(
    x: Any, offset: Any, mask: Any, weight: Any, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Any:
    from onnxscript import opset20 as op

    down, right = padding
    return op.DeformConv(
        x,
        weight,
        offset,
        None,
        mask,
        dilations=list(dilation),
        strides=list(stride),
        pads=[down, right, down, right],
    )


def forget_origin(model: Any) -> None:
    """Drop what the exporter notes of the machine: stack traces with its paths, in every node and value."""
    parts = [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info, *model.functions]
    for part in (*parts, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


def example_picture(spec: InputSpec) -> Tensor:
    """A normalised picture (1, 3, height, width): a bright disc on soft shapes, and grain; the same at every call."""
    generator = torch.Generator().manual_seed(0)
    shapes = torch.randn(1, 3, 6, 6, generator=generator)
    grain = torch.randn(1, 3, spec.height, spec.width, generator=generator)
    soft = nn.functional.interpolate(shapes, (spec.height, spec.width), mode="bicubic", align_corners=False)
    y = torch.linspace(-1, 1, spec.height)[:, None]
    x = torch.linspace(-1, 1, spec.width)
    return soft + 0.2 * grain + 2 * (y * y + x * x < 0.3)
