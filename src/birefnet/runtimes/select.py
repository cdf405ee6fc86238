"""Name or file -> runtime, on the best device of this machine."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from birefnet.errors import ConfigError, UnknownModel
from birefnet.pixels.prepare import MULTIPLE, InputSpec, nearest_multiple
from birefnet.runtimes.base import Memory, Mode, Runtime
from birefnet.runtimes.facts import read_safetensors, spec_of, to_spec
from birefnet.weights import zoo
from birefnet.weights.entries import BundledFile, ZooEntry

if TYPE_CHECKING:
    from birefnet.runtimes.torch import TorchRuntime

Size = int | tuple[int, int] | Literal["native"] | None


class Packed(NamedTuple):
    """A runtime for files that were packed for it."""

    home: str  # module:class, imported when it is needed
    suffixes: tuple[str, ...]


# In this order of preference where several take a file.
PACKED = {
    "onnx": Packed("birefnet.runtimes.onnx:OnnxRuntime", (".onnx",)),
    "openvino": Packed("birefnet.runtimes.openvino:OpenVinoRuntime", (".xml", ".onnx")),
    "tensorrt": Packed("birefnet.runtimes.tensorrt:TensorRtRuntime", (".engine", ".onnx")),
    "package": Packed("birefnet.runtimes.aoti:AotiRuntime", (".pt2",)),
}
RUNTIMES = ("auto", "torch", *PACKED)
EXPORTED = "model.xml"  # in a folder that was exported for OpenVINO


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What `select` was asked for, but the model and its size; see there."""

    runtime: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    mode: Mode = "eager"
    memory: Memory = "normal"
    offline: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise ConfigError(f"Unknown runtime `{self.runtime}`; wanted {', '.join(RUNTIMES)}.")


def select(model: str | Path = "nano", *, size: Size = None, **choices: Any) -> Runtime:
    """Make the runtime for a model.

    Packed models run in the runtime they were packed for: an ONNX file, and so the small model in the box, in ONNX
    Runtime (or, when asked, in OpenVINO or TensorRT), an OpenVINO file (`.xml`) in OpenVINO, a package (`.pt2`) in
    PyTorch. Any other model is weights and runs in PyTorch. Nothing is measured.

    Args:
        model: a name of the zoo, an exported file, a checkpoint file or folder, or a hub repository.
        size: None for the model's own; a side or (width, height), multiples of 32; "native" only checks that the model
            takes other sizes.
        choices: the fields of `Choices`:
            runtime: "auto", "torch", "onnx", "openvino", "tensorrt" or "package";
            device: "auto", "cpu", "cuda", "cuda:1" or "mps";
            dtype: "auto", "float32", "bfloat16" or "float16"; only PyTorch and OpenVINO leave a choice;
            mode: "eager", "compiled" or "graphs", of PyTorch, see `TorchRuntime`;
            memory: "normal" or "low", of PyTorch, see `TorchRuntime`;
            offline: never download;
            threads: CPU threads; None for the physical cores this process may use.

    Raises:
        UnknownModel: if there is no such model or file.
        MissingExtra: if it needs a library that is not installed.
        ConfigError, DeviceError, DownloadError, WeightsError: as their names say.
    """
    wanted = check_size(size)
    asked = Choices(**choices)
    runtime: Any = _packed(model, asked) or _torch(model, asked)
    if wanted is not None:
        runtime.spec = resized(runtime, wanted)
    if size == "native" and not runtime.dynamic:
        own = f"{runtime.spec.width}x{runtime.spec.height}"
        raise ConfigError(f"`{runtime.name}` takes pictures of {own} only, so its size cannot be `native`.")
    made: Runtime = runtime
    return made


def check_size(size: Size) -> tuple[int, int] | None:
    """A size as a user may give it -> (width, height), or None where the model or the picture decides.

    Raises:
        ConfigError: if it is no multiple of 32, with the nearest that is.
    """
    if size is None or size == "native":
        return None
    sides = (size, size) if isinstance(size, int) else size
    if isinstance(sides, str) or len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError(f"A size is one side, (width, height) or `native`, got `{size}`.")
    width, height = sides
    if width % MULTIPLE or height % MULTIPLE:
        nearest = f"{nearest_multiple(width)}x{nearest_multiple(height)}"
        raise ConfigError(f"A size must be in multiples of {MULTIPLE}, got {width}x{height}; nearest: {nearest}.")
    return width, height


def resized(runtime: Runtime, size: tuple[int, int]) -> InputSpec:
    """The runtime's input at another (width, height).

    Raises:
        ConfigError: if its network takes one size only.
    """
    width, height = size
    own = runtime.spec
    if not runtime.dynamic and (width, height) != (own.width, own.height):
        raise ConfigError(f"`{runtime.name}` takes pictures of {own.width}x{own.height} only, not {width}x{height}.")
    return replace(own, width=width, height=height)


def _packed(model: str | Path, choices: Choices) -> Runtime | None:
    """The runtime of a model that is packed for one: an exported file, or one published as ONNX; None for weights."""
    found = _packed_file(model, choices.offline)
    if found is None:
        return None
    path, entry = found
    kind = _kind(path, choices.runtime)
    if kind is None:
        raise ConfigError(
            f"`{path.name}` does not run in the runtime `{choices.runtime}`; leave it out, or export the model for it."
        )
    options: dict[str, Any] = {"name": entry.name if entry else None, "device": choices.device}
    options |= {"threads": choices.threads, "defaults": spec_of(entry)}
    if kind == "openvino" and choices.dtype != "float16":
        options["precision"] = choices.dtype
    elif choices.dtype not in ("auto", "float32"):
        raise ConfigError(f"`{model}` is packed with a precision of its own; leave out dtype `{choices.dtype}`.")
    made: Runtime = _class(PACKED[kind].home)(path, **options)
    return made


def _packed_file(model: str | Path, offline: bool) -> tuple[Path, ZooEntry | None] | None:
    """The file of a packed model, and its row of the zoo if it has one."""
    if (Path(model) / EXPORTED).is_file():
        return Path(model) / EXPORTED, None
    packed = Path(str(model)).suffix.lower() in {suffix for kind in PACKED.values() for suffix in kind.suffixes}
    if packed and Path(model).is_file():
        return Path(model), zoo.find(Path(model).name) if zoo.knows(Path(model).name) else None
    entry = zoo.find(str(model)) if zoo.knows(str(model)) else None
    if entry is not None and (packed or isinstance(entry.onnx, BundledFile)):
        from birefnet.weights.download import fetch

        return fetch(zoo.onnx_of(str(model)), offline=offline), entry
    if packed:
        raise UnknownModel(f"There is no file `{model}`, and no published model of that name.")
    return None


def _kind(path: Path, runtime: str) -> str | None:
    """The runtime of a file: the one asked for if it takes such files, else the first in the table that does."""
    takes = [name for name, kind in PACKED.items() if path.suffix.lower() in kind.suffixes]
    if runtime == "auto":
        return takes[0]
    return runtime if runtime in takes else None


def _class(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


def _torch(model: str | Path, choices: Choices) -> TorchRuntime:
    if choices.runtime not in ("auto", "torch"):
        raise ConfigError(
            f"`{model}` is weights, which run in PyTorch; for the runtime `{choices.runtime}`, pack it first: "
            f"birefnet export {model} --to {choices.runtime}"
        )
    from birefnet.runtimes.torch import TorchRuntime, check_memory, check_mode, choose_device, choose_dtype

    device = choose_device(choices.device)  # wrong options and a missing PyTorch before any download
    choose_dtype(choices.dtype, device)
    check_mode(choices.mode, device)
    check_memory(choices.memory)
    from birefnet.weights.checkpoint import load_model

    known = next((name for name in (str(model), Path(model).name) if zoo.knows(name)), None)
    entry = zoo.find(known) if known else None
    network = load_model(model, offline=choices.offline)
    spec = to_spec(read_safetensors(Path(model)), Path(model), defaults=spec_of(entry))
    name = entry.name if entry else Path(model).name
    return TorchRuntime(
        network,
        spec,
        name=name,
        device=choices.device,
        dtype=choices.dtype,
        mode=choices.mode,
        memory=choices.memory,
        threads=choices.threads,
    )
