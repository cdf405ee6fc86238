"""What `auto` chooses on this machine and why, and what a user should change: the facts of `birefnet doctor`."""

from __future__ import annotations

from typing import Any

from birefnet.devices import best_of, parse_device
from birefnet.runtimes import machine
from birefnet.weights.formats import FORMATS, RUNTIMES, WEIGHTS


def explain() -> dict[str, Any]:
    """What `device="auto"` chooses here and why, as plain data for `birefnet doctor`.

    Returns:
        {system: {python, platform}, packages: {name: version or None}, cpu: {model, cores, threads, features},
        onnxruntime: {providers, telemetry, clash[, error]}, torch: {devices, cuda[, error]}, cache: {folder, bytes},
        bundled: {file: bytes}, choice: {onnx, torch, why: [str]}, warnings: [str]}.
    """
    from birefnet.cache import cache_folder
    from birefnet.weights.download import BUNDLED

    packages = machine.packages()
    onnx, torch = machine.onnxruntime_facts(), machine.torch_facts()
    bundled = {path.name: path.stat().st_size for path in sorted(BUNDLED.glob("*.*")) if path.suffix != ".py"}
    choice = {
        "dtype": _dtype(torch),
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
        "choice": {**choice, "why": [*_why(choice, onnx, torch), _packed_files(packages)]},
        "warnings": _warnings(packages, onnx, torch, bundled),
    }


def _best(devices: list[str]) -> str | None:
    return best_of([parse_device(device).kind for device in devices])


def _why(choice: dict[str, str | None], onnx: dict[str, Any], torch: dict[str, Any]) -> list[str]:
    """One sentence per runtime."""
    offered = ", ".join(onnx["providers"]) or "nothing"
    seen = ", ".join(device["name"] for device in torch["devices"]) or "nothing"
    onnx_text = f"`nano` and .onnx files run on {choice['onnx']}: ONNX Runtime offers {offered}."
    torch_text = (
        f"all other models run on {choice['torch']} in {choice['dtype']}: PyTorch sees {seen}{_reason(choice)}."
    )
    if choice["onnx"] is None:
        onnx_text = "`nano` and .onnx files cannot run: ONNX Runtime is missing or broken."
    if choice["torch"] is None:
        torch_text = "all other models cannot run: PyTorch is missing or broken."
    return [onnx_text, torch_text[0].upper() + torch_text[1:]]


def _reason(choice: dict[str, str | None]) -> str:
    if choice["torch"] != "cpu":
        return ""
    if choice["dtype"] == "bfloat16":
        return ", and this processor multiplies in bfloat16 (`--dtype float32` for exact results)"
    return ", and this processor has neither AVX-512-BF16 nor AMX, so that bfloat16 would not be faster"


def _dtype(torch: dict[str, Any]) -> str | None:
    """The precision that `choose_dtype("auto")` takes on the device that `_best` names."""
    best = _best([device["name"] for device in torch["devices"]])
    if best is None:
        return None
    from birefnet.runtimes.torch import choose_dtype

    return choose_dtype("auto", best)


def _packed_files(packages: dict[str, str | None]) -> str:
    """Which exported files can run here."""
    exported = [row for name, row in FORMATS.items() if name != WEIGHTS and row.runtimes]
    needs = {row.suffixes[0]: RUNTIMES[row.runtimes[0]].module for row in exported}
    found = {name: version for name, version in packages.items() if version}
    found.setdefault("onnxruntime", found.get("onnxruntime-gpu", ""))
    texts = [f"{suffix} in {name} {found[name]}" for suffix, name in needs.items() if found.get(name)]
    missing = [f"{suffix} ({name})" for suffix, name in needs.items() if not found.get(name)]
    return f"exported files run: {', '.join(texts) or 'none'}" + (f"; not: {', '.join(missing)}." if missing else ".")


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
    if onnx["telemetry"] != "off":
        found.append(f"telemetry of ONNX Runtime is {onnx['telemetry']}")
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
