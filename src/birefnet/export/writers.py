"""Who writes each format of `birefnet.weights.formats`, one row each; libraries are imported when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from birefnet.export.options import ExportOptions
from birefnet.export.proof import Proof
from birefnet.network import BiRefNet
from birefnet.pixels.prepare import InputSpec


class Writer(Protocol):
    """Writes a network to a file, whole or not at all, and compares the file with the network first."""

    def __call__(
        self, network: BiRefNet, path: Path, spec: InputSpec, options: ExportOptions | None = None, *, source: str = ""
    ) -> Proof:
        """Write `network` to `path`.

        Args:
            network: in float32, on the CPU.
            path: the file or folder.
            spec: the input it was made for, which goes into the file.
            options: what is asked for; None for the usual.
            source: where the weights came from, for the file's metadata.

        Raises:
            ConfigError: for something that the format does not have.
            WeightsError: if what was written differs from the network; it is deleted.
            MissingExtra: if a library is not installed.
        """
        ...


def onnx() -> Writer:
    from birefnet.export.onnx import export_onnx

    return export_onnx


def openvino() -> Writer:
    from birefnet.export.openvino import export_openvino

    return export_openvino


def tensorrt() -> Writer:
    from birefnet.export.tensorrt import export_tensorrt

    return export_tensorrt


def package() -> Writer:
    from birefnet.export.aoti import export_package

    return export_package


def web() -> Writer:
    from birefnet.export.web import export_web

    return export_web


def gguf() -> Writer:
    from birefnet.export.gguf import export_gguf

    return export_gguf


WRITERS = {"onnx": onnx, "openvino": openvino, "tensorrt": tensorrt, "package": package, "web": web, "gguf": gguf}
