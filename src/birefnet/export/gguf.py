"""A network as a GGUF file in the layout of vision.cpp's BiRefNet, read back and compared before it gets its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from birefnet.errors import ConfigError, WeightsError, require
from birefnet.export.gguf_layout import (
    MULTIPLE,
    SWIN,
    check_input,
    check_network,
    from_layout,
    kernels,
    same_eps,
    to_layout,
)
from birefnet.export.graph import example_picture
from birefnet.export.onnx import Limits
from birefnet.export.options import ExportOptions
from birefnet.export.proof import Pictures, Proof, compare
from birefnet.files import whole_file
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec
from birefnet.weights.facts import facts_of
from birefnet.weights.names import to_ours, to_released

ARCHITECTURE = "birefnet"
LIMITS = {"fp32": Limits(1e-5, 1e-5, "fp32"), "fp16": Limits(5e-3, 1e-3, "fp16")}  # precision -> of the alpha
_TYPES = {"fp32": (torch.float32, 0), "fp16": (torch.float16, 1)}  # -> type of every tensor, GGUF's number of it


def export_gguf(
    network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions | None = None, *, source: str = ""
) -> Proof:
    """Write `network` as one GGUF file and compare what can be read from it.

    The file is read back, made a network again and run here; vision.cpp itself is not run.

    Args:
        network: a Swin tiny or large of the released models' shape.
        path: the file to write; replaced whole or not at all.
        spec: the input; a square in multiples of 128, or any size where `options.size` is None.
        options: precision fp32 or fp16 (of every tensor).
        source: where the weights came from, for the metadata.

    Raises:
        ConfigError: if the layout has no words for the network, its input or the precision.
        WeightsError: if the file gives another alpha, or a value is too large for half precision.
        MissingExtra: without gguf.
    """
    require("gguf", "gguf")
    options = options or ExportOptions(size=(spec.width, spec.height))
    if options.size is not None:
        spec = replace(spec, width=options.size[0], height=options.size[1])
    if options.precision not in LIMITS:
        raise ConfigError(f"GGUF files are written in fp32 or fp16, not `{options.precision}`")
    check_network(network.config)
    assert same_eps(network)
    side = check_input(spec, dynamic=options.size is None)
    options.report("writing the file")
    tensors = _as_type(to_layout(to_released(network.state_dict())), *_TYPES[options.precision])
    facts = facts_of(spec, precision=options.precision, source=source)
    with whole_file(path, parents=True) as part:
        _write(part, network, tensors, options.precision, side, facts)
        options.report("reading it back and comparing")
        proof = _prove(network, part, example_picture(spec).numpy(), LIMITS[options.precision])
        _write(part, network, tensors, options.precision, side, {**facts, **proof.facts()})
    return proof


def read_gguf(path: Path, network: BiRefNet) -> dict[str, Tensor]:
    """The state dict that a GGUF file of this layout holds, float32, in our names.

    Args:
        path: the file.
        network: of the same config as the one that was exported; for names and shapes, not changed.

    Raises:
        WeightsError: if the file is no such file, or does not fit the network.
        MissingExtra: without gguf.
    """
    gguf: Any = require("gguf", "gguf")
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, LookupError) as error:
        raise WeightsError(f"`{path}` is damaged or no GGUF file: {error}") from error
    field = reader.get_field("general.architecture")
    if field is None or field.contents() != ARCHITECTURE:
        raise WeightsError(f"`{path}` is a GGUF file of another kind of network")
    tensors = {tensor.name: torch.from_numpy(tensor.data.copy()) for tensor in reader.tensors}
    return to_ours(from_layout(tensors, to_released(network.state_dict())))


def _prove(network: BiRefNet, path: Path, pictures: Pictures, limits: Limits) -> Proof:
    again = BiRefNet(network.config).eval()
    again.load_state_dict(read_gguf(path, again))

    def run(batch: Pictures) -> Any:
        with torch.inference_mode():
            return again(torch.from_numpy(batch)).logits.numpy()

    return compare(network, run, pictures, **limits._asdict())


def _as_type(tensors: Mapping[str, Tensor], dtype: torch.dtype, _: int) -> dict[str, Tensor]:
    """All in one type, as the reader of the layout expects."""
    converted = {name: value.cpu().to(dtype) for name, value in tensors.items()}
    for name, value in converted.items():
        if not value.isfinite().all():
            raise WeightsError(
                f"`{name}` holds values that are not finite, or too large for {dtype}; try fp32, or mend the weights"
            )
    return converted


def _write(
    path: Path, network: BiRefNet, tensors: Mapping[str, Tensor], precision: str, side: int, facts: Mapping[str, object]
) -> None:
    gguf: Any = require("gguf", "gguf")
    title, width = SWIN[network.config.backbone]
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    try:
        writer.add_tensor_data_layout("whcn")
        writer.add_string("swin.config", title)
        writer.add_int32("swin.embed_dim", width)
        writer.add_int32("birefnet.image_size", side)
        writer.add_int32("birefnet.image_multiple", MULTIPLE)
        for name, value in facts.items():  # ours, which vision.cpp does not read
            writer.add_string(f"birefnet.{name}", json.dumps(value))
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_file_type(_TYPES[precision][1])
        writer.add_array("birefnet.conv2d_weights", kernels(tensors))
        for name, value in tensors.items():
            writer.add_tensor(name, value.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
