"""A network as a pair of OpenVINO files, `.xml` and `.bin`, of operators that every OpenVINO has; and its proof."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from birefnet.errors import require
from birefnet.export.calibration import find_calibration, masks_of
from birefnet.export.graph import to_onnx
from birefnet.export.onnx import prove
from birefnet.export.openvino_int8 import CalibrationSet, compress_weights, quantise, quantise_within, store_half
from birefnet.export.options import ExportOptions, Precision
from birefnet.export.proof import Proof
from birefnet.files import whole_folder, whole_pair
from birefnet.network import BiRefNet
from birefnet.network.inference import inference_form
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.openvino import FACTS, FILE, OpenVinoRuntime
from birefnet.runtimes.openvino_graph import read_onnx
from birefnet.weights.facts import facts_of

log = logging.getLogger(__name__)

_STORED: dict[Precision, str] = {
    "fp32": "float32",
    "fp16": "float16, computed as the runtime prefers",
    "int8wo": "int8, computed as the runtime prefers",
    "int8": "int8",
}
_PAIR = ".xml"  # a path that ends so is a pair of files; any other is a folder that holds them


def export_openvino(
    network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions | None = None, *, source: str = ""
) -> Proof:
    """Write `network` for OpenVINO and compare both.

    Deformable convolutions are written in the form that OpenVINO computes fastest, whatever `options.deform` says: of
    common operators for one size, as its own operator for free sizes.

    Args:
        network: in float32.
        path: `name.xml`, beside which `name.bin` is written, or a folder for `model.xml` and `model.bin`; replaced
            whole or not at all.
        spec: size, mean and std of the input, which go into the file's metadata.
        options: what is asked for; None for float32 weights and the size of `spec` alone.
        source: where the weights came from, for the metadata.

    Returns:
        How far both differ, as also written into the metadata.

    Raises:
        WeightsError: if the file's alpha differs by more than `birefnet.export.onnx.LIMITS`; what was written is
            deleted.
        DataError, PictureError: for the calibration pictures of int8.
        MissingExtra: without openvino, onnx and onnxscript, or for 8 bits without nncf.
    """
    openvino: Any = require("openvino", "openvino")
    options = options or ExportOptions(size=(spec.width, spec.height))
    if options.size is not None:
        spec = replace(spec, width=options.size[0], height=options.size[1])
    calibration = find_calibration(options.calibration) if options.precision == "int8" and options.calibration else []
    options.report("building the graph")
    model = build_model(network, spec, options)
    model = _in_precision(model, spec, options, calibration)
    facts = facts_of(spec, weights=_STORED[options.precision], precision=options.precision, source=source)
    with _place(path) as part:
        openvino.save_model(model, part, compress_to_fp16=False)
        del model
        write_facts(part, facts)
        options.report("comparing the files with the network")
        runtime: Any = OpenVinoRuntime(part, device="cpu", dtype="float32")
        proof = prove(network, runtime, spec, options, calibration)
        del runtime
        write_facts(part, proof.facts())
    log.debug("%s: alpha differs by %.1e at most, %.1e on average", path, proof.largest, proof.mean)
    return proof


def build_model(network: BiRefNet, spec: InputSpec, options: ExportOptions) -> Any:
    """The network as an `openvino.Model` in float32."""
    openvino: Any = require("openvino", "openvino")
    graph = to_onnx(inference_form(network), spec, dynamic=options.size is None, batch=options.batch)
    content = graph.SerializeToString()
    del graph
    return read_onnx(openvino.Core(), content)


def write_facts(path: Path, facts: Mapping[str, object]) -> None:
    """Add facts to the metadata of an `.xml` file; what was compared is not written again."""
    tree = ElementTree.parse(path)
    root = tree.getroot()
    info = root.find("rt_info")
    assert info is not None  # OpenVINO always writes its own version there
    home = info.find(FACTS)
    home = ElementTree.SubElement(info, FACTS) if home is None else home
    for name, value in facts.items():
        ElementTree.SubElement(home, name, value=json.dumps(value))
    for element in root.iter():  # a fifth of the file is blanks that show its levels
        element.text, element.tail = (element.text or "").strip(), None
    tree.write(path, encoding="utf-8", xml_declaration=True)


@contextmanager
def _place(path: Path) -> Iterator[Path]:
    """An `.xml` file to write to; both its files get their names when the block ends."""
    if path.suffix == _PAIR:
        with whole_pair(path, ".bin") as part:
            yield part
    else:
        with whole_folder(path) as folder:
            yield folder / FILE


def _in_precision(model: Any, spec: InputSpec, options: ExportOptions, calibration: list[Path]) -> Any:
    if options.precision == "int8wo":
        options.report("storing the weights in 8 bits")
        model = compress_weights(model)
    elif options.precision == "int8":
        pictures = CalibrationSet(calibration, spec, options.batch or 1)
        if options.max_drop is None or options.calibration is None:
            options.report(f"quantising with {len(calibration)} pictures")
            model = quantise(model, pictures)
        else:
            options.report(f"quantising with {len(calibration)} pictures and their masks, which runs it many times")
            model = quantise_within(model, pictures, masks_of(calibration, options.calibration), options.max_drop)
    if options.precision != "fp32":
        store_half(model)
    return model
