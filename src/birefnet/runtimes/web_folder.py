"""A model as a folder for browsers: which files it has, what its manifest says, and what transformers.js reads of it.

    config.json, preprocessor_config.json    for `@huggingface/transformers`
    birefnet.json                            the manifest, for our page and whoever wants to know more
    onnx/model.onnx, model_fp16.onnx, ...    the network, once for each way of storing its weights

Needs neither torch nor onnx: the small model in the box becomes such a folder wherever it is served.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from birefnet.errors import WeightsError
from birefnet.pixels.prepare import InputSpec

MANIFEST, CONFIG, PREPROCESSOR = "birefnet.json", "config.json", "preprocessor_config.json"
FORMAT, VERSION = "birefnet-web", 1

Dtype = Literal["fp32", "fp16", "int8"]
# How transformers.js calls a file -> its name for the choice of it.
JS_DTYPES = {"model.onnx": "fp32", "model_fp16.onnx": "fp16", "model_quantized.onnx": "q8"}
GRAPHS: dict[Dtype, str] = {
    "fp32": "onnx/model.onnx",
    "fp16": "onnx/model_fp16.onnx",
    "int8": "onnx/model_quantized.onnx",
}
PROVIDERS = ("wasm", "webgpu")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Fitted to the peaks that benchmarks/browser.py measured (docs/browser.md), which they meet within a third.
_BASE_MEMORY = 300_000_000  # bytes of a page with the runtime and a picture, before any model
_COPIES = 3  # of the stored weights, while a session is made: the page's, the runtime's, and the graph's
_ARENA = 2  # bytes that the runtime's heap grows for each that is in use


@dataclass(frozen=True, slots=True, kw_only=True)
class WebFile:
    """One file of a variant.

    Attributes:
        path: inside the folder, with slashes.
        bytes, sha256: of the whole file.
        mount: the name by which the graph asks for it, where it holds weights beside the graph; "" for the graph.
    """

    path: str
    bytes: int
    sha256: str
    mount: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The network with its weights stored in one way; it always computes in float32.

    Attributes:
        dtype: of the stored weights.
        files: the graph first.
        memory: estimated bytes that a browser needs to run it on WebAssembly; see `memory_needed`.
        largest_alpha_error, mean_alpha_error: measured against the network that it was made of; None where unknown.
        graph_optimization: how far ONNX Runtime is to rewrite the graph.
        session: further options of its session, as onnxruntime-web names them.
        self_test: known answers; see `birefnet.runtimes.web_selftest`.
    """

    dtype: Dtype
    files: tuple[WebFile, ...]
    memory: int
    largest_alpha_error: float | None
    mean_alpha_error: float | None
    graph_optimization: str = "all"
    session: dict[str, Any] = field(default_factory=dict)
    self_test: dict[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> str:
        """Path of the graph inside the folder."""
        return self.files[0].path

    @property
    def js_dtype(self) -> str:
        """What transformers.js calls this variant."""
        return JS_DTYPES[PurePosixPath(self.graph).name]

    def facts(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        files = [{key: value for key, value in asdict(one).items() if value != ""} for one in self.files]
        return {
            "dtype": self.dtype,
            "graph": self.graph,
            "graph_optimization": self.graph_optimization,
            "session": self.session,
            "files": files,
            "bytes": sum(one.bytes for one in self.files),
            "memory": self.memory,
            "largest_alpha_error": self.largest_alpha_error,
            "mean_alpha_error": self.mean_alpha_error,
            "providers": list(PROVIDERS),
            **({"self_test": self.self_test} if self.self_test else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WebModel:
    """What a folder for browsers is told to say of itself; `texts` are its small files."""

    name: str
    title: str
    source: str
    licence: str
    spec: InputSpec
    variants: tuple[Variant, ...]
    default: Dtype
    input_name: str = "input_image"
    output_name: str = "logits"

    def texts(self) -> dict[str, str]:
        """File name -> its content, of all files but the networks."""
        pages = {MANIFEST: self._manifest(), CONFIG: self._config(), PREPROCESSOR: preprocessing(self.spec)}
        return {name: json.dumps(page, indent=2) + "\n" for name, page in pages.items()}

    def _manifest(self) -> dict[str, Any]:
        spec = self.spec
        side = {"width": spec.width, "height": spec.height, "mean": list(spec.mean), "std": list(spec.std)}
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "license": self.licence,
            "input": {"name": self.input_name, **side},
            "output": {"name": self.output_name, "activation": "sigmoid", "upsample": spec.upsample},
            "variants": [variant.facts() for variant in self.variants],
            "default": self.default,
        }

    def _config(self) -> dict[str, Any]:
        """Without a choice of its own, transformers.js takes "q8" on WebAssembly and "fp32" elsewhere, there or not.

        It refuses "fp16" on WebGPU adapters without 16-bit shaders, although these networks compute in float32.
        """
        chunks = {PurePosixPath(one.graph).name: len(one.files) - 1 for one in self.variants if len(one.files) > 1}
        chosen = next(one for one in self.variants if one.dtype == self.default)
        others = [one.js_dtype for one in self.variants if one.js_dtype != "fp16"]
        choice: dict[str, Any] = {"dtype": chosen.js_dtype}
        if chosen.js_dtype == "fp16" and others:
            choice["device_config"] = {"webgpu": {"dtype": others[0]}}
        if chunks:
            choice["use_external_data_format"] = chunks
        return {"model_type": "birefnet", "architectures": ["BiRefNet"], "transformers.js_config": choice}


def preprocessing(spec: InputSpec) -> dict[str, Any]:
    """What transformers.js does to a picture: squash it to the network's size, scale it to [0, 1], normalise it.

    Its resizing is not ours. In Node its "bilinear" neither widens when it shrinks nor keeps pixels' centres; its
    Lanczos does both, and is measured to come nearer (docs/web-export.md). In browsers it is the canvas, whatever this
    says. A picture of the network's size is left alone.
    """
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"width": spec.width, "height": spec.height},
        "resample": 1,  # Lanczos
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }


def memory_needed(stored: int, widened: int, activations: int) -> int:
    """Estimated bytes that a browser's page needs while it runs a network on WebAssembly.

    Args:
        stored: bytes of the variant's files.
        widened: bytes of weights that ONNX Runtime widens to float32 once, and keeps so beside the stored ones.
        activations: bytes of the values between layers that exist at once, at most.
    """
    return round(_BASE_MEMORY + _COPIES * stored + widened + _ARENA * activations)


def read_manifest(folder: Path) -> dict[str, Any]:
    """A web model folder's manifest, once it is found to make sense and its files to be there.

    Raises:
        WeightsError: if it is no such folder, of a later version, or a file is missing or of another length.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"`{folder}` is no model for browsers: it has no {MANIFEST}; {_WAY_OUT}") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"`{path}` cannot be read: {error}; {_WAY_OUT}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise WeightsError(f"`{path}` is no manifest of this package; {_WAY_OUT}")
    if manifest.get("version") != VERSION:
        raise WeightsError(
            f"`{path}` is of version {manifest.get('version')}, this birefnet reads {VERSION}; {_WAY_OUT}"
        )
    try:
        if not _NAME.fullmatch(manifest["name"]):
            raise WeightsError(f"`{path}` has the name `{manifest['name']}`; wanted letters, digits, dots and dashes")
        for file in listed_files(manifest):
            _check_file(folder, file["path"], file["bytes"])
        found: dict[str, Any] = manifest
    except (KeyError, TypeError) as error:
        raise WeightsError(f"`{path}` lacks something: {error}; {_WAY_OUT}") from error
    return found


def listed_files(manifest: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The files of all variants, as their manifest lists them."""
    return [file for variant in manifest["variants"] for file in variant["files"]]


def _check_file(folder: Path, path: str, size: int) -> None:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path:
        raise WeightsError(f"`{folder / MANIFEST}` names the file `{path}`, which is not inside its folder")
    file = folder / path
    if not file.is_file():
        raise WeightsError(f"`{folder}` lacks its file {path}; {_WAY_OUT}")
    if file.stat().st_size != size:
        raise WeightsError(f"`{file}` has {file.stat().st_size} bytes, its manifest says {size}; {_WAY_OUT}")


_WAY_OUT = "make it with: birefnet export MODEL --to web"
