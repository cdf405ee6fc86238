"""Import every module of the core while whatever is optional cannot be imported; run by CI in a core install too.

    python tests/core_import.py

Prints how many modules it imported; ends with the traceback of the first that needs something optional.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

OPTIONAL = (
    *("torch", "torchvision", "yaml", "accelerate", "tensorboard", "peft", "cv2", "matplotlib", "scipy"),
    *("onnx", "onnxscript", "pillow_heif", "openvino", "nncf", "gguf"),
    *("pymatting", "numba", "tensorrt", "triton"),
    *("fastapi", "starlette", "pydantic", "uvicorn", "python_multipart", "prometheus_client", "httpx"),
)
# What is made of torch; everything else must do without.
NEEDS_TORCH = (
    "birefnet.export",
    "birefnet.network",
    "birefnet.runtimes.compiled",
    "birefnet.runtimes.cuda_graphs",
    "birefnet.training",
    "birefnet.weights.backbones",
    "birefnet.weights.checkpoint",
    "birefnet.weights.fit",
    "birefnet.weights.infer",
    "birefnet.weights.reading",
)

# The server itself; the page, and writing it as a site, do without.
NEEDS_SERVE = tuple(
    f"birefnet.serving.{name}"
    for name in (
        *("addresses", "app", "bodies", "describe", "fal", "fetch", "guard", "line", "metrics", "page", "pool"),
        *("refusal", "rembg", "run", "schemas", "service", "target", "v1", "work"),
    )
)


class Blocker(MetaPathFinder):
    """Answers for the optional modules as if they were not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)
        return None


def is_core(name: str) -> bool:
    """Whether a module must work with the core install."""
    return not any(name == home or name.startswith(home + ".") for home in (*NEEDS_TORCH, *NEEDS_SERVE))


def core_modules() -> list[str]:
    """All modules of the package that belong to the core, `birefnet.__main__` included."""
    import birefnet

    return [m.name for m in pkgutil.walk_packages(birefnet.__path__, "birefnet.", _fail) if is_core(m.name)]


def _fail(name: str) -> None:
    if is_core(name):
        raise ImportError(f"{name} cannot be imported")


def main() -> None:
    sys.meta_path.insert(0, Blocker())
    names = core_modules()
    for name in names:
        importlib.import_module(name)
    print(f"{len(names)} core modules imported without {', '.join(OPTIONAL)}")


if __name__ == "__main__":
    main()
