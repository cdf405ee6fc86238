"""A file or a dictionary -> the tensors in it, and the network's configuration where it was saved with them.

Nothing is ever unpickled but tensors and plain containers.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from birefnet.errors import ConfigError, WeightsError
from birefnet.network.config import BiRefNetConfig
from birefnet.weights.formats import WEIGHTS, WEIGHTS_SUFFIXES, kind_of

CONFIG_ENTRY = "birefnet_config"  # in the metadata of the safetensors files that `save_model` writes
# Where checkpoints keep the weights, best first: averaged weights are those that were meant for use.
NESTS = ("ema", "model", "state_dict", "model_state_dict")


class Weights(NamedTuple):
    """What a file holds."""

    state: dict[str, Tensor]  # names as in the file
    config: BiRefNetConfig | None


def read_weights(path: Path) -> Weights:
    """The tensors of a file, on the CPU.

    Raises:
        WeightsError: if it is of another kind, damaged, or would need code to be unpickled.
    """
    _refuse_what_is_no_weights_file(path)
    if kind_of(path) != WEIGHTS:
        raise WeightsError(f"`{path}` is no weights file; known are {', '.join(WEIGHTS_SUFFIXES)}")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    return Weights(find_state(_read_torch(path)), None)


def find_state(content: object) -> dict[str, Tensor]:
    """The name -> tensor dictionary in a checkpoint, which may hold it under "model", "state_dict" and the like.

    Raises:
        WeightsError: if there is none.
    """
    if isinstance(content, Mapping):
        if content and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
            return dict(content)
        for nest in NESTS:
            if isinstance(content.get(nest), Mapping) and content[nest]:
                return find_state(content[nest])
    keys = ", ".join(f"`{key}`" for key in list(content)[:6]) if isinstance(content, Mapping) else "no entries"
    raise WeightsError(
        f"Found no dictionary of tensors here, neither by itself nor under {', '.join(NESTS)}; there are: {keys}"
    )


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
    except SafetensorError as error:
        raise WeightsError(f"`{path}` is damaged or no safetensors file: {error}") from error
    return Weights(find_state(state), _read_config(metadata, path))


def _read_config(metadata: Mapping[str, str], path: Path) -> BiRefNetConfig | None:
    if CONFIG_ENTRY not in metadata:
        return None
    try:
        return BiRefNetConfig.from_dict(json.loads(metadata[CONFIG_ENTRY]))
    except (ValueError, TypeError, ConfigError) as error:
        raise WeightsError(f"The configuration saved in `{path}` cannot be used: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "REDUCE" in str(error) or "Unsupported class" in str(error):
            raise WeightsError(
                f"`{path}` holds more than tensors, and running what it holds would be needed to read it, which is "
                "never done; where you trust it, save its state dict alone: torch.save(model.state_dict(), ...)"
            ) from error
        raise WeightsError(f"`{path}` is damaged or no checkpoint of torch") from error
    except Exception as error:  # a damaged file can fail anywhere in the reader, with any error
        raise WeightsError(f"`{path}` is damaged, perhaps not wholly downloaded ({type(error).__name__})") from error


def _refuse_what_is_no_weights_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError as error:
        raise WeightsError(f"Cannot read `{path}`: {error.strerror or error}") from error
    if not first:
        raise WeightsError(f"`{path}` is empty")
    if first.startswith(b"version https://git-lfs"):
        raise WeightsError(f"`{path}` is a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
    if first.lstrip()[:1] == b"<":
        raise WeightsError(f"`{path}` is a web page, not weights; the download went wrong")
