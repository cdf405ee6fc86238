"""A network as an ONNX file: one input `input_image`, one output `logits`, and the proof that both agree."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from birefnet.errors import ConfigError, require
from birefnet.export.calibration import calibration_pictures, find_calibration
from birefnet.export.decompose import decompose
from birefnet.export.folding import fold_rearrangements
from birefnet.export.graph import example_picture, to_onnx
from birefnet.export.options import ExportOptions, Precision
from birefnet.export.proof import Pictures, Proof, Rounding, compare, worst
from birefnet.export.quantise import float_nodes, last_layers, quantise
from birefnet.export.storage import share_initialisers, store_half, store_int8
from birefnet.files import whole_file
from birefnet.inputs import nearest_multiple
from birefnet.network import BiRefNet
from birefnet.network.inference import inference_form
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.weights.facts import facts_of

log = logging.getLogger(__name__)

LARGEST_FILE = 2**31 - 1  # bytes that the format's container can hold
_IR_VERSION = 10  # what ONNX Runtime 1.20 reads; opset 20 needs no more
_SEEN_PICTURES = 4  # calibration pictures that an 8-bit file is compared on, besides the example


class Limits(NamedTuple):
    """Differences of the alpha that a precision may have, and how the network itself is rounded to widen them."""

    largest: float
    mean: float
    rounding: Rounding


LIMITS: dict[Precision, Limits] = {
    "fp32": Limits(1e-5, 1e-5, "fp32"),
    "fp16": Limits(5e-3, 1e-3, "fp16"),
    "int8wo": Limits(0.2, 5e-3, "int8wo"),
    "int8": Limits(0.5, 1e-2, "int8"),
}
_STORED = {
    "fp32": "float32",
    "fp16": "float16, computed in float32",
    "int8wo": "int8, computed in float32",
    "int8": "int8",
}
# Bytes of a parameter while the file is made; quantising with pictures needs a float32 file on the way.
_WIDTHS: dict[Precision, float] = {"fp32": 4, "fp16": 2, "int8wo": 1, "int8": 4}


def export_onnx(
    network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions | None = None, *, source: str = ""
) -> Proof:
    """Write `network` as an ONNX file (opset 20) and compare both.

    Args:
        network: in float32.
        path: the file to write; replaced whole or not at all.
        spec: size, mean and std of the input, which go into the file's metadata.
        options: what is asked for; None for float32 weights and the size of `spec` alone.
        source: where the weights came from, for the metadata.

    Returns:
        How far both differ, as also written into the metadata.

    Raises:
        ConfigError: if the file would be larger than the format allows.
        WeightsError: if the file's alpha differs by more than `LIMITS`; the file is removed.
        DataError, PictureError: for the calibration pictures of int8.
        MissingExtra: without onnx and onnxscript.
    """
    options = options or ExportOptions(size=(spec.width, spec.height))
    if options.size is not None:
        spec = replace(spec, width=options.size[0], height=options.size[1])
    if options.max_drop is not None:
        raise ConfigError(
            "Only OpenVINO files are quantised within a `max_drop`", hint='take `to="openvino"`, or leave it out'
        )
    _check_size(network, options.precision)
    calibration = _calibration(options)
    options.report("building the graph")
    model = build_model(network, spec, options)
    model = _in_precision(model, spec, options, calibration)
    if model.ByteSize() > LARGEST_FILE:
        raise _too_large(model.ByteSize())
    facts = _facts(spec, options, model, source)
    with whole_file(path, parents=True) as part:
        part.write_bytes(model.SerializeToString())
        del model
        options.report("comparing the file with the network")
        runtime = OnnxRuntime(part, device="cpu", keep_memory=False)
        proof = prove(network, runtime, spec, options, calibration)
        del runtime
        _append_facts(part, facts | proof.facts())
    log.debug("%s: alpha differs by %.1e at most, %.1e on average", path, proof.largest, proof.mean)
    return proof


def build_model(network: BiRefNet, spec: InputSpec, options: ExportOptions) -> Any:
    """The network's graph in float32, with equal initialisers shared and deformable convolutions as asked for."""
    model = to_onnx(inference_form(network), spec, dynamic=options.size is None, batch=options.batch)
    model.ir_version = min(model.ir_version, _IR_VERSION)
    fold_rearrangements(model.graph)
    share_initialisers(model.graph)
    if options.deform == "decomposed":
        decompose(model)
    del model.graph.value_info[:]  # what a runtime finds out itself; shapes would contradict a rewritten graph
    return model


def prove(
    network: BiRefNet, runtime: OnnxRuntime, spec: InputSpec, options: ExportOptions, calibration: list[Path]
) -> Proof:
    """Compare the file with the network in every size and number of pictures that it was asked to take.

    Raises:
        WeightsError: if they differ by more than allowed.
    """
    limits = LIMITS[options.precision]._asdict()
    proofs = [compare(network, runtime, pictures, **limits) for pictures in _examples(spec, options)]
    if options.precision == "int8":
        step = max(1, len(calibration) // _SEEN_PICTURES)
        seen = calibration_pictures(calibration[::step][:_SEEN_PICTURES], spec)
        proofs += [compare(network, runtime, pictures, **limits) for pictures in seen]
    return worst(proofs)


def further_sizes(spec: InputSpec) -> tuple[InputSpec, InputSpec]:
    """Two inputs of other sizes, one wide and one high, smaller than `spec` where that is not small itself."""
    wide = (nearest_multiple(spec.width * 0.6) + 64, nearest_multiple(spec.height * 0.4))
    high = (nearest_multiple(spec.width * 0.3) + 32, nearest_multiple(spec.height * 0.5) + 64)
    one, two = (replace(spec, width=max(64, width), height=max(64, height)) for width, height in (wide, high))
    return one, two


def _examples(spec: InputSpec, options: ExportOptions) -> Iterator[Pictures]:
    """(N, 3, h, w) each: the size of `spec`, and where the file takes any, two further ones."""
    count = options.batch or 1
    for one in (spec, *(further_sizes(spec) if options.size is None else ())):
        picture = example_picture(one).numpy()
        yield np.concatenate([np.roll(picture, 32 * shift, axis=3) for shift in range(count)])
    if options.batch is None:
        small = further_sizes(spec)[0] if options.size is None else spec
        picture = example_picture(small).numpy()
        yield np.concatenate([picture, picture[..., ::-1]])


def _in_precision(model: Any, spec: InputSpec, options: ExportOptions, calibration: list[Path]) -> Any:
    if options.precision == "fp16":
        store_half(model.graph)
    elif options.precision == "int8":
        options.report(f"quantising with {len(calibration)} pictures")
        model = quantise(model, _batches(calibration_pictures(calibration, spec), options.batch or 1))
    if options.precision in ("int8", "int8wo"):
        makers = {name: node for node in model.graph.node for name in node.output}
        kept = float_nodes(model.graph) if options.precision == "int8" else last_layers(model.graph, makers)
        store_int8(model.graph, keep=frozenset(kept))
        store_half(model.graph)
    return model


def _batches(pictures: Iterator[Pictures], size: int) -> Iterator[Pictures]:
    """A graph of fixed batch takes nothing else, in calibration too."""
    return (np.repeat(picture, size, axis=0) for picture in pictures)


def _calibration(options: ExportOptions) -> list[Path]:
    return find_calibration(options.calibration) if options.precision == "int8" and options.calibration else []


def _facts(spec: InputSpec, options: ExportOptions, model: Any, source: str) -> dict[str, object]:
    native = any(node.op_type == "DeformConv" for node in model.graph.node)
    decomposed = any(node.name.startswith("deform0") for node in model.graph.node)
    return facts_of(
        spec,
        weights=_STORED[options.precision],
        precision=options.precision,
        deform="native" if native else "decomposed" if decomposed else "none",
        source=source,
    )


def _append_facts(path: Path, facts: dict[str, object]) -> None:
    """Write metadata to the end of a file that has none: what was compared is not written again.

    A protobuf message followed by another is the two merged.
    """
    onnx: Any = require("onnx", "export")
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    with path.open("ab") as file:
        file.write(model.SerializeToString())


def _check_size(network: BiRefNet, precision: Precision) -> None:
    """Refuse before minutes of work what cannot be written."""
    size = sum(parameter.numel() for parameter in network.parameters()) * _WIDTHS[precision]
    if size > LARGEST_FILE:
        raise _too_large(size)


def _too_large(size: float) -> ConfigError:
    return ConfigError(
        f"The file would hold {size / 2**30:.1f} GiB, and ONNX files hold at most 2",
        hint='take `precision="fp16"` or `precision="int8wo"`, or another format, such as `to="package"`',
    )
