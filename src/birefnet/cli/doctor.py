"""`birefnet doctor`: what is installed, what this machine has, what would be used and why."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import typer

from birefnet.cli.options import Json

# Extra -> distributions it brings; tests/test_packaging.py compares this with pyproject.toml.
EXTRAS = {
    "torch": ("torch",),
    "heif": ("pillow-heif",),
    "evaluate": ("matplotlib", "opencv-python-headless"),
    "train": ("torch", "accelerate", "pyyaml", "tensorboard"),
    "lora": ("torch", "accelerate", "pyyaml", "tensorboard", "peft"),
    "export": ("torch", "onnx", "onnxscript"),
    "openvino": ("openvino",),
    "int8": ("torch", "onnx", "onnxscript", "openvino", "nncf"),
    "gguf": ("torch", "gguf"),
    "matting": ("pymatting",),
    "serve": ("fastapi", "prometheus-client", "python-multipart", "starlette", "uvicorn"),
}


def doctor(report: Json = False) -> None:
    """Show versions, devices and extras, what `--device auto` would choose, and why.

    Put its output into a bug report; it holds no personal data but the path of the cache folder.
    """
    from birefnet.runtimes.explain import explain

    facts: dict[str, Any] = {**explain(), "extras": extras()}
    if report:
        typer.echo(json.dumps(facts, indent=2))
        return
    for line in lines(facts):
        typer.echo(line)


def extras() -> dict[str, bool]:
    """Which extras are complete."""
    return {name: all(_installed(part) for part in parts) for name, parts in EXTRAS.items()}


def lines(facts: dict[str, Any]) -> list[str]:
    """The report as text, without the final newlines."""
    system, cpu, cache = facts["system"], facts["cpu"], facts["cache"]
    versions = {name: version for name, version in facts["packages"].items() if version}
    box = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in facts["bundled"].items())
    rows = [
        ("system", f"Python {system['python']}, {system['platform']}"),
        (
            "processor",
            f"{cpu['model']}: {cpu['cores']} cores, {cpu['threads']} threads {' '.join(cpu['features'])}".strip(),
        ),
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("onnxruntime", ", ".join(facts["onnxruntime"]["providers"]) or "not usable"),
        ("torch", ", ".join(f"{d['name']} ({d['model']})" for d in facts["torch"]["devices"]) or "not installed"),
        ("in the box", box or "nothing"),
        ("cache", f"{cache['folder']} ({cache['bytes'] / 1e6:.0f} MB)"),
    ]
    rows += [
        (f"extra {name}", "installed" if there else f"pip install 'birefnet[{name}]'")
        for name, there in facts["extras"].items()
    ]
    rows += [("--device auto", sentence) for sentence in facts["choice"]["why"]]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {value}" for name, value in rows] + [f"warning: {text}" for text in facts["warnings"]]


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
