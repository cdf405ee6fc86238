"""Name or file -> runtime, on the best device of this machine; and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from birefnet.errors import ConfigError, UnknownModel
from birefnet.pixels.prepare import MULTIPLE, InputSpec, nearest_multiple
from birefnet.runtimes import machine
from birefnet.runtimes.base import Runtime
from birefnet.runtimes.facts import read_safetensors, to_spec
from birefnet.weights import zoo
from birefnet.weights.entries import BundledFile, ZooEntry

if TYPE_CHECKING:
    from birefnet.runtimes.onnx import OnnxRuntime
    from birefnet.runtimes.torch import TorchRuntime

Size = int | tuple[int, int] | Literal["native"] | None


def select(
    model: str | Path = "nano",
    *,
    device: str = "auto",
    size: Size = None,
    dtype: str = "auto",
    offline: bool = False,
    threads: int | None = None,
) -> Runtime:
    """Make the runtime for a model.

    An ONNX file runs in ONNX Runtime, and so does the small model in the box; any other model runs in PyTorch.

    Args:
        model: a name of the zoo, an `.onnx` file, a checkpoint file or folder, or a hub repository.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        size: None for the model's own; a side or (width, height), multiples of 32; "native" only checks that the model
            takes other sizes.
        dtype: "auto", "float32", "bfloat16" or "float16"; an ONNX file has its own.
        offline: never download.
        threads: CPU threads of ONNX Runtime; None for the physical cores this process may use.

    Raises:
        UnknownModel: if there is no such model or file.
        MissingExtra: if it needs PyTorch, which is not installed.
        ConfigError, DeviceError, DownloadError, WeightsError: as their names say.
    """
    wanted = check_size(size)
    runtime = _onnx(model, device, dtype, offline, threads) or _torch(model, device, dtype, offline)
    if wanted is not None:
        runtime.spec = resized(runtime, wanted)
    if size == "native" and not runtime.dynamic:
        own = f"{runtime.spec.width}x{runtime.spec.height}"
        raise ConfigError(f"`{runtime.name}` takes pictures of {own} only, so its size cannot be `native`.")
    return runtime


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


def _onnx(model: str | Path, device: str, dtype: str, offline: bool, threads: int | None) -> OnnxRuntime | None:
    """The ONNX runtime of a model that is an ONNX file, here or published; None for any other model."""
    found = _onnx_file(model, offline)
    if found is None:
        return None
    if dtype not in ("auto", "float32"):
        raise ConfigError(f"`{model}` is an ONNX file with a precision of its own; leave out dtype `{dtype}`.")
    from birefnet.runtimes.onnx import OnnxRuntime

    path, entry = found
    name = entry.name if entry else None
    return OnnxRuntime(path, name=name, device=device, threads=threads, defaults=_spec(entry))


def _onnx_file(model: str | Path, offline: bool) -> tuple[Path, ZooEntry | None] | None:
    """The file of a model that runs in ONNX Runtime, and its row of the zoo if it has one."""
    named_onnx = str(model).lower().endswith(".onnx")
    if named_onnx and Path(model).is_file():
        return Path(model), zoo.find(Path(model).name) if zoo.knows(Path(model).name) else None
    entry = zoo.find(str(model)) if zoo.knows(str(model)) else None
    if entry is not None and (named_onnx or isinstance(entry.onnx, BundledFile)):
        from birefnet.weights.download import fetch

        return fetch(zoo.onnx_of(str(model)), offline=offline), entry
    if named_onnx:
        raise UnknownModel(f"There is no file `{model}`, and no published model of that name.")
    return None


def _torch(model: str | Path, device: str, dtype: str, offline: bool) -> TorchRuntime:
    from birefnet.runtimes.torch import TorchRuntime, choose_device, choose_dtype

    choose_dtype(dtype, choose_device(device))  # wrong options and a missing PyTorch before any download
    from birefnet.weights.checkpoint import load_model

    known = next((name for name in (str(model), Path(model).name) if zoo.knows(name)), None)
    entry = zoo.find(known) if known else None
    network = load_model(model, offline=offline)
    spec = to_spec(read_safetensors(Path(model)), Path(model), defaults=_spec(entry))
    name = entry.name if entry else Path(model).name
    return TorchRuntime(network, spec, name=name, device=device, dtype=dtype)


def _spec(entry: ZooEntry | None) -> InputSpec | None:
    """What a row of the zoo says of the input."""
    if entry is None:
        return None
    width, height = entry.size
    return InputSpec(width=width, height=height, mean=entry.mean, std=entry.std)


def explain() -> dict[str, Any]:
    """What `device="auto"` chooses here and why, as plain data for `birefnet doctor`.

    Returns:
        {system: {python, platform}, packages: {name: version or None}, cpu: {model, cores, threads, features},
        onnxruntime: {providers, clash[, error]}, torch: {devices, cuda[, error]}, cache: {folder, bytes},
        bundled: {file: bytes}, choice: {onnx, torch, why: [str]}, warnings: [str]}.
    """
    from birefnet.weights.download import BUNDLED, cache_folder

    packages = machine.packages()
    onnx, torch = machine.onnxruntime_facts(), machine.torch_facts()
    bundled = {path.name: path.stat().st_size for path in sorted(BUNDLED.glob("*.*")) if path.suffix != ".py"}
    choice = {
        "onnx": "cuda" if "CUDAExecutionProvider" in onnx["providers"] else "cpu" if onnx["providers"] else None,
        "torch": _best([device["name"] for device in torch["devices"]]),
    }
    return {
        "system": machine.system(),
        "packages": packages,
        "cpu": machine.cpu(),
        "onnxruntime": onnx,
        "torch": torch,
        "cache": {"folder": str(cache_folder()), "bytes": machine.folder_bytes(cache_folder())},
        "bundled": bundled,
        "choice": {**choice, "why": _why(choice, onnx, torch)},
        "warnings": _warnings(packages, onnx, torch, bundled),
    }


def _best(devices: list[str]) -> str | None:
    """As `choose_device("auto")`: CUDA, then MPS, then the CPU."""
    for kind in ("cuda", "mps", "cpu"):
        if any(device.startswith(kind) for device in devices):
            return kind
    return None


def _why(choice: dict[str, str | None], onnx: dict[str, Any], torch: dict[str, Any]) -> list[str]:
    """One sentence per runtime."""
    offered = ", ".join(onnx["providers"]) or "nothing"
    seen = ", ".join(device["name"] for device in torch["devices"]) or "nothing"
    onnx_text = f"`nano` and .onnx files run on {choice['onnx']}: ONNX Runtime offers {offered}."
    torch_text = f"all other models run on {choice['torch']}: PyTorch sees {seen}."
    if choice["onnx"] is None:
        onnx_text = "`nano` and .onnx files cannot run: ONNX Runtime is missing or broken."
    if choice["torch"] is None:
        torch_text = "all other models cannot run: PyTorch is missing or broken."
    return [onnx_text, torch_text[0].upper() + torch_text[1:]]


def _warnings(
    packages: dict[str, str | None], onnx: dict[str, Any], torch: dict[str, Any], bundled: dict[str, int]
) -> list[str]:
    """What a user should change, each with the way out."""
    found = []
    if onnx["clash"]:
        found.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other, so GPUs may be ignored; run: "
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        )
    if "error" in onnx:
        found.append(f"onnxruntime does not import: {onnx['error']}")
    if "error" in torch:
        found.append(f"torch does not import: {torch['error']}")
    gpu = any(device["name"].startswith("cuda") for device in torch["devices"])
    if gpu and "CUDAExecutionProvider" not in onnx["providers"]:
        found.append("PyTorch sees a GPU but ONNX Runtime does not; for ONNX files on it: pip install onnxruntime-gpu")
    if packages["torch"] is None:
        found.append("torch is not installed, so only ONNX files run; for all models: pip install 'birefnet[torch]'")
    if "nano.onnx" not in bundled:
        found.append("this build of the package has no nano.onnx, the model in the box; reinstall it")
    return found
