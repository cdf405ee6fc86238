"""What this machine and this installation offer, as plain data; nothing here changes anything."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from birefnet import __version__
from birefnet.cpus import physical_cores, usable_cpus
from birefnet.libraries import load_onnxruntime, onnxruntime_telemetry

PACKAGES = (
    *("numpy", "pillow", "pillow-heif", "onnxruntime", "onnxruntime-gpu"),
    *("torch", "torchvision", "safetensors", "openvino", "nncf", "tensorrt", "onnx", "tqdm", "typer"),
)
_X86 = ("x86_64", "AMD64")
_NATIVE_BFLOAT16 = {"bf16", "amx-bf16"}
_CPU_FLAGS = {  # how the kernel names it -> how we do
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "vnni",
    "avx_vnni": "vnni",
    "avx512_bf16": "bf16",
    "amx_tile": "amx",
    "amx_bf16": "amx-bf16",
    "amx_int8": "amx-int8",
    "asimd": "neon",
    "asimddp": "dot-product",
    "bf16": "bf16",
}


def cpu() -> dict[str, Any]:
    """The processor: {model, cores, threads, features}; features only where the system tells them."""
    text = _read("/proc/cpuinfo")
    lines = dict(_pairs(text.splitlines()))
    flags = (lines.get("flags") or lines.get("Features") or "").split()
    return {
        "model": lines.get("model name") or platform.processor() or platform.machine(),
        "cores": physical_cores(),
        "threads": len(usable_cpus()),
        "features": sorted({_CPU_FLAGS[flag] for flag in flags if flag in _CPU_FLAGS}),
    }


def computes_in_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16, and does not only convert: AVX-512-BF16 or AMX.

    On ARM it is not taken: nobody has measured it there.
    """
    return platform.machine() in _X86 and bool(_NATIVE_BFLOAT16 & set(cpu()["features"]))


def packages() -> dict[str, str | None]:
    """Versions of what the package can use, read from their metadata; None where not installed."""
    return {"birefnet": __version__, **{name: _version(name) for name in PACKAGES}}


def onnxruntime_facts() -> dict[str, Any]:
    """{providers, telemetry, clash}: a clash is two distributions in one folder, where the CPU's hides the GPU's."""
    clash = _version("onnxruntime") is not None and _version("onnxruntime-gpu") is not None
    telemetry = onnxruntime_telemetry()  # before it is loaded here: who else may have loaded it?
    try:
        onnxruntime = load_onnxruntime()
    except Exception as error:  # a broken library must not break the report about it
        return {"providers": [], "telemetry": telemetry, "clash": clash, "error": str(error)}
    return {"providers": list(onnxruntime.get_available_providers()), "telemetry": telemetry, "clash": clash}


def torch_facts() -> dict[str, Any]:
    """{devices, cuda}: what PyTorch sees; empty where it is not installed."""
    if _version("torch") is None:
        return {"devices": [], "cuda": None}
    try:
        import torch
    except Exception as error:  # a broken library must not break the report about it
        return {"devices": [], "cuda": None, "error": str(error)}
    devices = [{"name": "cpu", "model": cpu()["model"]}]
    for index in range(torch.cuda.device_count()):
        devices.append({"name": f"cuda:{index}", "model": torch.cuda.get_device_name(index)})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "model": "Apple GPU"})
    return {"devices": devices, "cuda": torch.version.cuda}


def system() -> dict[str, str]:
    """{python, platform}."""
    return {"python": sys.version.split()[0], "platform": platform.platform()}


def folder_bytes(folder: Path) -> int:
    """How much a folder's files hold; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
