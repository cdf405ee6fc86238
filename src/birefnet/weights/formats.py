"""The formats a model comes in: one row each, with the suffix that tells it, and what runs it. Needs no torch.

An artefact has one name everywhere: `birefnet export --to NAME` writes it, and `runtime="NAME"` runs it. Who writes a
format stands in `birefnet.export.writers`, who opens it in `birefnet.runtimes.select`; both have a row for each name.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from birefnet.errors import ConfigError, did_you_mean


class Library(NamedTuple):
    """What a runtime, or writing a format, needs."""

    module: str
    install: str  # what follows `pip install`

    @property
    def missing(self) -> str:
        """The sentence that says how to get it; "" where it is installed."""
        return "" if _is_there(self.module) else f"needs `{self.module}`: pip install {self.install}"


class Format(NamedTuple):
    """One row of the table.

    Attributes:
        help: what it is for, in a few words.
        suffixes: of its files, in lower case; none for a folder.
        runtimes: names of `RUNTIMES` that run it, the preferred one first; none where only other programs do.
        precisions: of the files that `birefnet export` writes, the usual one first; none where it writes none.
        needs: what writing it needs.
        mark: the file that a folder of this format has; "" for none.
        second: suffix of a file that belongs beside the first; a name without suffix is then a folder for both.
        old: other names that were used for it, still understood.
    """

    help: str
    suffixes: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    needs: tuple[Library, ...] = ()
    mark: str = ""
    second: str = ""
    old: tuple[str, ...] = ()


WEIGHTS = "weights"

_TORCH = Library("torch", "'birefnet[torch]'")
_ONNX = (_TORCH, Library("onnx", "'birefnet[export]'"), Library("onnxscript", "'birefnet[export]'"))
_OPENVINO = Library("openvino", "'birefnet[openvino]'")
_TENSORRT = Library("tensorrt", "tensorrt")  # no extra brings it: it must fit the driver

FORMATS = {
    WEIGHTS: Format("tensors, which PyTorch runs", (".safetensors", ".pth", ".pt", ".bin"), ("torch",)),
    "onnx": Format(
        "ONNX Runtime, and whatever else reads ONNX",
        (".onnx",),
        ("onnx", "openvino", "tensorrt"),
        ("fp32", "fp16", "int8", "int8wo"),
        _ONNX,
    ),
    "openvino": Format(
        "OpenVINO, for Intel processors",
        (".xml",),
        ("openvino",),
        ("fp32", "fp16", "int8", "int8wo"),
        (*_ONNX, _OPENVINO),
        mark="model.xml",
        second=".bin",
    ),
    "tensorrt": Format(
        "TensorRT, for one kind of NVIDIA GPU", (".engine",), ("tensorrt",), ("fp32", "fp16"), (*_ONNX, _TENSORRT)
    ),
    "package": Format(
        "a compiled package that PyTorch runs without our code",
        (".pt2",),
        ("package",),
        ("fp32", "fp16"),
        (_TORCH,),
        old=("torch", "aoti", "pt2"),
    ),
    "web": Format(
        "a folder for browsers: our page, or transformers.js",
        precisions=("fp32", "fp16", "int8wo"),
        needs=_ONNX,
        mark="birefnet.json",
    ),
    "gguf": Format("vision.cpp", (".gguf",), (), ("fp32", "fp16"), (_TORCH, Library("gguf", "'birefnet[gguf]'"))),
}

RUNTIMES = {
    "torch": _TORCH,
    "onnx": Library("onnxruntime", "onnxruntime"),
    "openvino": _OPENVINO,
    "tensorrt": _TENSORRT,
    "package": _TORCH,
}
"""What runs models -> the library it needs."""

WEIGHTS_SUFFIXES = FORMATS[WEIGHTS].suffixes
SUFFIXES = tuple(suffix for row in FORMATS.values() for suffix in row.suffixes)
TARGETS = tuple(name for name, row in FORMATS.items() if row.precisions)
"""Names of the formats that `birefnet export` writes."""
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What the weights of a repository of the Hub are called, best first."""


def kind_of(path: str | Path) -> str | None:
    """The format that a file's name tells, whatever its case; None for another kind of file, or a folder."""
    suffix = Path(path).suffix.lower()
    return next((name for name, row in FORMATS.items() if suffix in row.suffixes), None)


def find_target(name: str, precision: str | None = None) -> tuple[str, Format]:
    """The format to be written that is called `name`, also by an older name: its name, and its row.

    Args:
        precision: of the file; refused if the format has none such.

    Raises:
        ConfigError: if there is no such format (with the nearest), or it has no such precision.
    """
    found = name if name in TARGETS else next((key for key in TARGETS if name in FORMATS[key].old), None)
    if found is None:
        raise ConfigError(
            f"There is no format `{name}`; known: {', '.join(TARGETS)}", hint=did_you_mean(name, TARGETS, cutoff=0.5)
        )
    row = FORMATS[found]
    if precision is not None and precision not in row.precisions:
        raise ConfigError(f"{found} has no precision `{precision}`; choose one of {', '.join(row.precisions)}")
    return found, row


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a module that says of itself that it is not there
        return False
