"""The small model in the box as a web model folder, made of its ONNX file without torch or onnx."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from birefnet.libraries import load_onnxruntime
from birefnet.runtimes.web_folder import GRAPHS, Variant, WebFile, WebModel, memory_needed
from birefnet.runtimes.web_selftest import known_answers
from birefnet.weights import zoo
from birefnet.weights.download import fetch

NAME = "nano"
# Its values between layers, at most, at its size; counted as `birefnet.export.web_memory` does.
_ACTIVATIONS = 86_000_000


def nano_files() -> dict[str, Path | bytes]:
    """Path inside the folder -> the file, or its content."""
    path = fetch(zoo.onnx_of(NAME), offline=True)  # in the box: never fetched
    texts = _describe(path).texts()
    return {**{name: text.encode() for name, text in texts.items()}, GRAPHS["fp32"]: path}


def _describe(path: Path) -> WebModel:
    """Its weights are stored as float16, but it stands where transformers.js looks first."""
    from birefnet.runtimes.onnx import OnnxRuntime
    from birefnet.weights.facts import read_facts, to_spec

    raw, ports, side = _read(path)
    spec = to_spec(read_facts(raw, path), path, fixed=side)
    entry = zoo.find(NAME)
    content = path.read_bytes()
    file = WebFile(path=GRAPHS["fp32"], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    error = raw.get("largest_alpha_error")
    variant = Variant(
        dtype="fp16",
        files=(file,),
        memory=memory_needed(len(content), 2 * len(content), _ACTIVATIONS),
        largest_alpha_error=None if error is None else float(error),
        mean_alpha_error=None,  # the box does not say
        self_test=known_answers(OnnxRuntime(path, device="cpu", keep_memory=False), spec),
    )
    return WebModel(
        name=NAME,
        title="Nano: small and quick",
        source=json.loads(raw.get("source", '""')),
        licence=entry.licence,
        spec=spec,
        variants=(variant,),
        default="fp16",
        input_name=ports[0],
        output_name=ports[1],
    )


def _read(path: Path) -> tuple[dict[str, str], tuple[str, str], tuple[int, int]]:
    """An ONNX file's metadata, the names of its input and output, and its (width, height)."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is only read
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs()[0], session.get_outputs()[0]
    height, width = inputs.shape[2:]
    return session.get_modelmeta().custom_metadata_map, (inputs.name, outputs.name), (width, height)
