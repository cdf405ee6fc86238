"""A network as a TensorRT engine for this machine's GPU, with the proof that both agree.

Not tried on a GPU: the tests run it against a stand-in that records calls.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from birefnet.errors import ConfigError
from birefnet.export.aoti import prove
from birefnet.export.onnx import LARGEST_FILE, build_model
from birefnet.export.options import ExportOptions
from birefnet.export.proof import Proof
from birefnet.files import whole_file
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec
from birefnet.runtimes.tensorrt import TensorRtRuntime
from birefnet.runtimes.tensorrt_engine import (
    OLDEST_DEFORM,
    engine_facts,
    engine_for,
    library,
    make_plan,
    version_of,
    write_engine,
)
from birefnet.weights.facts import facts_of

log = logging.getLogger(__name__)

DEVICE = "cuda"


def export_tensorrt(
    network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions | None = None, *, source: str = ""
) -> Proof:
    """Write `network` as a TensorRT engine for this GPU and compare both.

    The engine is built from our ONNX graph, and kept in the cache too. Its deformable convolutions are TensorRT's own
    from version 10.1 on, and made of common operators before, or where `options.deform` asks for them.

    Args:
        network: in float32, on the CPU.
        path: the file to write; replaced whole or not at all.
        spec: size, mean and std of the input, which go into the file.
        options: precision fp32 or fp16; a size or any from 256 to 2304 pixels; a number of pictures or 1 to 8.
        source: where the weights came from, for the file.

    Raises:
        ConfigError: for another precision, or a graph larger than ONNX allows.
        DeviceError, MissingExtra: where TensorRT or an NVIDIA GPU is missing.
        WeightsError: if TensorRT does not take the graph, or the engine gives another alpha; it is removed.
    """
    options = options or ExportOptions(size=(spec.width, spec.height))
    if options.size is not None:
        spec = replace(spec, width=options.size[0], height=options.size[1])
    plan = make_plan(spec, dynamic=options.size is None, batch=options.batch, precision=options.precision)
    tensorrt = library()
    facts = engine_facts(tensorrt, DEVICE, plan)
    options = fitting(tensorrt, options)
    options.report("building the graph")
    model = build_model(network, spec, options)
    if model.ByteSize() > LARGEST_FILE:
        raise ConfigError("The graph is larger than the 2 GiB that ONNX allows, and TensorRT builds from ONNX")
    options.report("building the engine, which takes minutes")
    engine = engine_for(model.SerializeToString(), plan, device=DEVICE)
    facts |= facts_of(spec, precision=options.precision, deform=options.deform, source=source)
    with whole_file(path, parents=True) as part:
        write_engine(part, facts, engine)
        options.report("comparing the engine with the network")
        runtime = TensorRtRuntime(part, device=DEVICE)
        proof = prove(network, runtime, spec, options, smallest=max(plan.smallest[2:]))
        del runtime
        write_engine(part, facts | proof.facts(), engine)
    log.debug("%s: alpha differs by %.1e at most, %.1e on average", path, proof.largest, proof.mean)
    return proof


def fitting(tensorrt: Any, options: ExportOptions) -> ExportOptions:
    """The options, with common operators for deformable convolutions where this TensorRT has no own one."""
    return options if version_of(tensorrt) >= OLDEST_DEFORM else replace(options, deform="decomposed")
