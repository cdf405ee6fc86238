"""A network as a folder for browsers: for `@huggingface/transformers` unchanged, and for the page of this package."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from birefnet.errors import ConfigError, require
from birefnet.export.browser_graph import to_browser_graph
from birefnet.export.graph import example_picture
from birefnet.export.onnx import LARGEST_FILE, LIMITS, Limits
from birefnet.export.options import ExportOptions, Precision
from birefnet.export.proof import Proof, compare, worst
from birefnet.export.quantise import float_nodes
from birefnet.export.storage import smallest_layers, store_half, store_int8
from birefnet.export.web_memory import peak_activations
from birefnet.export.web_parts import PART_BYTES, files_of, write_graph
from birefnet.files import whole_folder
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.onnx import OnnxRuntime
from birefnet.runtimes.web_folder import GRAPHS, MANIFEST, Dtype, Variant, WebModel, memory_needed
from birefnet.runtimes.web_selftest import known_answers
from birefnet.weights.entries import HubFile, ZooEntry
from birefnet.weights.facts import facts_of

log = logging.getLogger(__name__)

LARGEST_FP32 = 400_000_000  # bytes; larger networks are not written in float32 as well: no browser would hold them
_LIMITS: dict[Dtype, Limits] = {
    "fp32": LIMITS["fp32"],
    "fp16": LIMITS["fp16"],
    "int8": LIMITS["int8wo"]._replace(mean=1 / 255),
}
_ASKED: dict[Precision, tuple[Dtype, ...]] = {
    "fp32": ("fp32", "fp16", "int8"),
    "fp16": ("fp16",),
    "int8wo": ("int8",),
}
_PREFERRED: tuple[Dtype, ...] = ("fp16", "int8", "fp32")  # what is loaded where nobody chooses
# ONNX Runtime widens weights stored as float16 once, when it opens the file, and holds them as float32 besides. Told
# not to, it widens each when its layer is computed, and forgets it. With those of 8 bits it does so by itself.
_WIDEN_LATE = {"extra": {"optimization": {"disable_specified_optimizers": "ConstantFolding"}}}
_SESSION: dict[Dtype, dict[str, Any]] = {"fp32": {}, "fp16": _WIDEN_LATE, "int8": _WIDEN_LATE}
# In the variant with 8 bits, the share of the weights that keeps 16, the smallest layers first: the file grows by a
# fifth, and the alpha's error falls to less than a half.
_SPARED = 1 / 4
_ROOM = 2_000_000_000  # bytes; variants that need more are nobody's default where there is another


def export_web(
    network: BiRefNet,
    path: Path,
    spec: InputSpec,
    options: ExportOptions | None = None,
    *,
    source: str = "",
    part_bytes: int = PART_BYTES,
    largest_fp32: int = LARGEST_FP32,
) -> Proof:
    """Write `network` as a folder for browsers, each way of storing its weights compared with it.

    Args:
        network: in float32.
        path: the folder to write; replaced whole or not at all.
        spec: size, mean and std of the input.
        options: what is asked for. The precision "fp32" stands for all: weights stored in float32, in float16 and in
            8 bits; "fp16" and "int8wo" for that alone. All compute in float32.
        source: the model's name, or where the weights came from.
        part_bytes: weights beyond this go to files of about this size.
        largest_fp32: from how many bytes of weights on none are stored in float32.

    Returns:
        How far the worst of them differs; the manifest has it of each.

    Raises:
        ConfigError: for what a folder for browsers cannot be, or if another folder would be replaced.
        WeightsError: if an alpha differs by more than allowed; nothing is left then.
        MissingExtra: without onnx and onnxscript.
    """
    options = options or ExportOptions(size=(spec.width, spec.height))
    _check(options, path)
    own_size = (spec.width, spec.height)
    if options.size is not None:
        spec = replace(spec, width=options.size[0], height=options.size[1])
    weight_bytes = 4 * sum(parameter.numel() for parameter in network.parameters())
    if weight_bytes > LARGEST_FILE:
        raise ConfigError(f"The network has {weight_bytes / 2**30:.1f} GiB of weights, more than a browser can hold")
    dtypes = [one for one in _ASKED[options.precision] if one != "fp32" or weight_bytes <= largest_fp32]
    options.report("building the graph")
    model = _build(network, spec, source)
    activations = peak_activations(model)
    with whole_folder(path) as part:
        made = [_write_variant(network, model, part, spec, dtype, options, activations, part_bytes) for dtype in dtypes]
        variants = tuple(variant for variant, _ in made)
        for name, text in _describe(source, options.entry, spec, own_size, variants).texts().items():
            (part / name).write_text(text, "utf-8")
    return worst([proof for _, proof in made])


def _check(options: ExportOptions, path: Path) -> None:
    """Refuse what a folder for browsers cannot be."""
    if options.precision not in _ASKED:
        raise ConfigError(
            "Browsers have no fast 8-bit activations",
            hint='take `precision="int8wo"` (weights only) or `precision="fp16"`, or leave the precision out',
        )
    if options.batch != 1:
        raise ConfigError("A browser computes one picture at a time", hint="leave `batch=1`")
    if options.size is None:
        raise ConfigError("A network for browsers has one size", hint="say which, such as `size=512`")
    if options.deform != "native":
        raise ConfigError(
            "In browsers native deformable convolutions need the least memory", hint='take `deform="native"`'
        )
    if path.exists() and not (path / MANIFEST).is_file():
        raise ConfigError(f"`{path}` is no model for browsers, so it is not replaced", hint="choose another `output`")


def _build(network: BiRefNet, spec: InputSpec, source: str) -> Any:
    """The network's graph in float32, saying what input it takes."""
    onnx: Any = require("onnx", "export")
    model = to_browser_graph(network, spec)
    del model.graph.value_info[:]
    facts = facts_of(spec, source=source)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    return model


def _write_variant(
    network: BiRefNet,
    model: Any,
    folder: Path,
    spec: InputSpec,
    dtype: Dtype,
    options: ExportOptions,
    activations: int,
    part_bytes: int,
) -> tuple[Variant, Proof]:
    """Write the graph with its weights stored in one way, load it again, and compare it with the network."""
    options.report(f"writing and comparing {dtype}")
    path = folder / GRAPHS[dtype]
    write_graph(_stored(model, dtype), path, part_bytes=part_bytes)
    runtime = OnnxRuntime(path, device="cpu", keep_memory=False)
    proof = compare(network, runtime, example_picture(spec).numpy(), **_LIMITS[dtype]._asdict())
    files = files_of(path, folder)
    variant = Variant(
        dtype=dtype,
        files=files,
        memory=memory_needed(sum(one.bytes for one in files), 0, activations),  # none is widened at once: _SESSION
        largest_alpha_error=proof.largest,
        mean_alpha_error=proof.mean,
        session=_SESSION[dtype],
        self_test=known_answers(runtime, spec),
    )
    log.debug("%s: alpha differs by %.1e at most, %.1e on average", path, proof.largest, proof.mean)
    return variant, proof


def _stored(model: Any, dtype: Dtype) -> Any:
    """A copy of the model with its weights stored as `dtype` says.

    Last layers, those that tell deformable convolutions where to look, and small ones never get 8 bits: see
    `float_nodes` and `smallest_layers`.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    if dtype == "int8":
        kept = float_nodes(copy.graph)
        store_int8(copy.graph, keep=kept | smallest_layers(copy.graph, _SPARED, keep=kept))
    if dtype != "fp32":
        store_half(copy.graph)
    return copy


def _describe(
    source: str, entry: ZooEntry | None, spec: InputSpec, own_size: tuple[int, int], variants: tuple[Variant, ...]
) -> WebModel:
    side = f"{spec.width}" if spec.width == spec.height else f"{spec.width}x{spec.height}"
    own = (spec.width, spec.height) == own_size
    label = re.sub(r"[^A-Za-z0-9._]+", "-", entry.name if entry else source).strip("-._") or "model"
    origin = source
    if entry is not None and isinstance(entry.weights, HubFile):
        origin = f"{entry.weights.repository} on the Hugging Face Hub, {entry.weights.revision}"
    return WebModel(
        name=label if own else f"{label}-{side}",
        title=f"{entry.name if entry else label}: {entry.task}, {side}" if entry else f"{label}, {side}",
        source=origin,
        licence=entry.licence if entry else "",
        spec=spec,
        variants=variants,
        default=_default(variants),
    )


def _default(variants: tuple[Variant, ...]) -> Dtype:
    """The variant that is loaded where nobody chooses: the preferred one that fits, or else the smallest."""
    fitting = {variant.dtype for variant in variants if variant.memory <= _ROOM}
    smallest = min(variants, key=lambda variant: variant.memory).dtype
    return next((dtype for dtype in _PREFERRED if dtype in fitting), smallest)
