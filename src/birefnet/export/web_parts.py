"""An ONNX graph as files that stream well: beyond some size, its weights go to files of their own beside it.

Their names are those that transformers.js asks for: `model.onnx_data`, `model.onnx_data_1`, `model.onnx_data_2`, ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from birefnet.errors import ConfigError, require
from birefnet.runtimes.web_folder import WebFile

# Below what common hosts of static files take (100 MB), and small enough that a download which broke off begins again
# not far back.
PART_BYTES = 95_000_000
MOST_PARTS = 100  # of one graph, that transformers.js takes
_SMALL = 1024  # bytes; smaller values stay in the graph, where the runtime wants to see shapes and axes
_ALIGNMENT = 64


def write_graph(model: Any, path: Path, *, part_bytes: int = PART_BYTES) -> None:
    """Write a model, with its weights beside it where it is larger than one part.

    Args:
        model: an `onnx.ModelProto`; its weights are emptied where they go to other files.
        path: the graph's file.
        part_bytes: the most that a file of weights holds, but for a single weight that is larger.

    Raises:
        ConfigError: if there would be more parts than transformers.js takes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if model.ByteSize() > part_bytes:
        _write_weights(model, path, part_bytes)
    path.write_bytes(model.SerializeToString())


def files_of(path: Path, folder: Path) -> tuple[WebFile, ...]:
    """The files of a graph that `write_graph` wrote, the graph first, with their true sizes and hashes."""
    parts = [part for part in _part_paths(path, MOST_PARTS) if part.is_file()]
    return tuple(_described(one, folder, mount="" if one is path else one.name) for one in (path, *parts))


def _write_weights(model: Any, path: Path, part_bytes: int) -> None:
    onnx: Any = require("onnx", "export")
    large = [one for one in model.graph.initializer if one.HasField("raw_data") and len(one.raw_data) >= _SMALL]
    for place, group in enumerate(_groups(large, part_bytes)):
        if place == MOST_PARTS:
            raise ConfigError(
                f"The weights would be more than {MOST_PARTS} files of {part_bytes} bytes",
                hint='take `precision="int8wo"` or `precision="fp16"`',
            )
        part = _part_paths(path, place + 1)[place]
        with part.open("wb") as file:
            for tensor in group:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                offset, length = file.tell(), len(tensor.raw_data)
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")
                tensor.data_location = onnx.TensorProto.EXTERNAL
                for key, value in (("location", part.name), ("offset", offset), ("length", length)):
                    tensor.external_data.add(key=key, value=str(value))


def _groups(tensors: list[Any], part_bytes: int) -> Iterator[list[Any]]:
    """The tensors in their order, as many at a time as one part holds."""
    group: list[Any] = []
    size = 0
    for tensor in tensors:
        more = len(tensor.raw_data) + _ALIGNMENT
        if group and size + more > part_bytes:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += more
    if group:
        yield group


def _part_paths(path: Path, count: int) -> list[Path]:
    return [path.with_name(f"{path.name}_data{f'_{place}' if place else ''}") for place in range(count)]


def _described(path: Path, folder: Path, *, mount: str) -> WebFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WebFile(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=digest, mount=mount)
