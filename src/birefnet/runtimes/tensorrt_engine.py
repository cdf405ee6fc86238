"""ONNX model -> TensorRT engine, built once per machine: the builder, its cache, and the file an engine is kept in.

An engine file is `birefnet` and a zero byte, the length of a JSON text as four bytes (little end first), that text, and
TensorRT's own plan. Reading a plan is as good as running a program: open only those that you made yourself or whose
maker you trust.

Nothing here was tried on a GPU: the tests run it against a stand-in that records calls.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from birefnet.cache import cache_folder
from birefnet.errors import ConfigError, DeviceError, MissingExtra, WeightsError
from birefnet.files import write_whole
from birefnet.pixels.prepare import NATIVE_SIDES, InputSpec

Four = tuple[int, int, int, int]  # (B, 3, h, w)
Version = tuple[int, int]

MAGIC = b"birefnet\0"
INPUT, OUTPUT = "input_image", "logits"
OLDEST: Version = (10, 0)  # reads opset 20
OLDEST_DEFORM: Version = (10, 1)  # has a node for DeformConv
STRONG: Version = (11, 0)  # takes every type from the graph and knows no "build in half precision"
MOST_PICTURES = 8  # of an engine for any number


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an engine is built for.

    Attributes:
        smallest, usual, largest: shapes of the input; all equal in an engine of fixed size. It is fastest at `usual`.
        precision: fp32 (TensorFloat-32 off), or fp16 wherever TensorRT finds it faster.
    """

    smallest: Four
    usual: Four
    largest: Four
    precision: Literal["fp32", "fp16"] = "fp32"

    @property
    def dynamic(self) -> bool:
        return self.smallest[2:] != self.largest[2:]


def make_plan(spec: InputSpec, *, dynamic: bool, batch: int | None, precision: str) -> Plan:
    """The plan for an input.

    Args:
        spec: its size; where it is dynamic, the usual one.
        dynamic: sides from 256 to 2304 pixels, or to those of `spec` where they are beyond.
        batch: pictures at once; None for 1 to 8.
        precision: "fp32" or "fp16".

    Raises:
        ConfigError: for another precision.
    """
    if precision not in ("fp32", "fp16"):
        raise ConfigError(f"A TensorRT engine is built in fp32 or fp16, not `{precision}`")
    low, high = NATIVE_SIDES
    sides = (spec.height, spec.width)
    shortest = [min(low, side) if dynamic else side for side in sides]
    longest = [max(high, side) if dynamic else side for side in sides]
    fewest, most = (1, MOST_PICTURES) if batch is None else (batch, batch)
    return Plan(
        smallest=(fewest, 3, shortest[0], shortest[1]),
        usual=(fewest, 3, *sides),
        largest=(most, 3, longest[0], longest[1]),
        precision="fp16" if precision == "fp16" else "fp32",
    )


def library() -> Any:
    """The module `tensorrt`.

    Raises:
        MissingExtra: if it is not installed.
        DeviceError: if it is too old for our graphs.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise MissingExtra(
            f"TensorRT does not load ({error}); on a machine with an NVIDIA GPU, install it with: pip install tensorrt"
        ) from error
    if version_of(tensorrt) < OLDEST:
        raise DeviceError(f"TensorRT {tensorrt.__version__} is too old for opset 20; install 10.1 or newer")
    return tensorrt


def version_of(tensorrt: Any) -> Version:
    major, minor = (int(number) for number in tensorrt.__version__.split(".")[:2])
    return major, minor


def gpu_facts(device: str) -> dict[str, str]:
    """What an engine depends on besides TensorRT: the GPU's name and its compute capability.

    Raises:
        DeviceError: where PyTorch sees no such GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise DeviceError(
            "TensorRT needs an NVIDIA GPU, and PyTorch sees none here; `birefnet doctor` shows what it sees"
        )
    capability = torch.cuda.get_device_capability(device)
    return {"gpu": torch.cuda.get_device_name(device), "capability": ".".join(map(str, capability))}


def engine_facts(tensorrt: Any, device: str, plan: Plan) -> dict[str, Any]:
    """All that decides whether an engine fits: the GPU, TensorRT's version, the shapes and the precision."""
    return {**gpu_facts(device), "tensorrt": tensorrt.__version__, "plan": asdict(plan)}


def key_of(model: bytes, facts: Mapping[str, Any]) -> str:
    """A name for the engine of a model on a machine; another model, GPU, version, shape or precision has another."""
    text = json.dumps({**facts, "model": hashlib.sha256(model).hexdigest()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def engine_for(model: bytes, plan: Plan, *, device: str = "cuda") -> bytes:
    """TensorRT's plan for an ONNX model: from the cache, or built, which takes minutes, and kept there.

    Args:
        model: a serialised ONNX model with the input `input_image`.
        plan: what it is built for.
        device: the GPU.

    Raises:
        DeviceError, MissingExtra: where TensorRT or a GPU is missing.
        WeightsError: if TensorRT does not take the model.
    """
    tensorrt = library()
    facts = engine_facts(tensorrt, device, plan)
    kept = cache_folder() / "tensorrt" / f"{key_of(model, facts)}.engine"
    if kept.is_file():
        return read_engine(kept)[1]
    engine = build(tensorrt, model, plan)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_engine(kept, facts, engine)
    return engine


def build(tensorrt: Any, model: bytes, plan: Plan) -> bytes:
    """Build the engine now.

    Raises:
        DeviceError: if this TensorRT cannot build in that precision.
        WeightsError: if TensorRT does not take the model.
    """
    half = plan.precision == "fp16"
    if half and version_of(tensorrt) >= STRONG:
        raise DeviceError(
            f"TensorRT {tensorrt.__version__} takes types from the graph alone; build in fp32, or with TensorRT 10"
        )
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    tensorrt.init_libnvinfer_plugins(logger, "")  # DeformConv is one of them
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(model):
        errors = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
        raise WeightsError(f"TensorRT does not take the model ({errors[:300]}); try `--deform decomposed`")
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    if half:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, plan.smallest, plan.usual, plan.largest)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise WeightsError("TensorRT could not build an engine; the GPU's memory may be too small for this size")
    return bytes(engine)


def write_engine(path: Path, facts: Mapping[str, Any], engine: bytes) -> None:
    """Write an engine and what it says of itself, whole or not at all."""
    text = json.dumps(dict(facts)).encode()

    def save(file: BinaryIO) -> None:
        file.write(MAGIC + struct.pack("<I", len(text)) + text)
        file.write(engine)

    write_whole(path, save)


def read_engine(path: Path) -> tuple[dict[str, Any], bytes]:
    """What an engine file says of itself, and TensorRT's plan; nothing in it is run.

    Raises:
        WeightsError: if the file is missing, damaged, or no engine of ours.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"There is no file `{path}`.") from error
    start = len(MAGIC) + 4
    if not content.startswith(MAGIC) or len(content) < start:
        raise WeightsError(f"`{path}` is no engine that this program wrote; export one with `--to tensorrt`.")
    (length,) = struct.unpack("<I", content[len(MAGIC) : start])
    try:
        facts = json.loads(content[start : start + length])
    except ValueError as error:
        raise WeightsError(f"`{path}` is damaged: {error}") from error
    return facts, content[start + length :]
