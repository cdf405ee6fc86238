"""Weights -> a model ready to run, and back to a file. Loading is strict; what does not fit is said."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from birefnet.devices import TRAINS_ON, choose_device
from birefnet.errors import ConfigError, WeightsError
from birefnet.files import whole_file
from birefnet.network.birefnet import BiRefNet
from birefnet.network.config import BiRefNetConfig, TwoScale
from birefnet.processes import torch_threads
from birefnet.weights.fit import check_fit, skeleton_of
from birefnet.weights.infer import infer_config
from birefnet.weights.names import has_our_names, strip_prefixes, to_ours, to_released
from birefnet.weights.reading import CONFIG_ENTRY, Weights, find_state, read_weights
from birefnet.weights.resolve import resolve
from birefnet.weights.transfer import Progress


@torch_threads()
def load_model(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    two_scale: TwoScale | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> BiRefNet:
    """A model with the weights of `source`, in evaluation mode; its shape is read from them.

    Args:
        source: a name of the zoo ("general"; see `birefnet models`), a `.safetensors`, `.pth`, `.pt` or `.bin` file,
            a folder with one, a run's folder (its best weights), a repository of the Hub ("owner/name" or
            "owner/name@revision"), or a state dict; `birefnet.weights.resolve` tells the order. Names of entries may
            be the released ones or ours, wrapped by data parallelism or compiling or not.
        device: where the model goes.
        dtype: type of its weights; None for float32, also for files in half precision.
        two_scale: how the features of the half-size picture are joined; needed only for "add", which tensors cannot
            tell from "none". Files of `save_model` tell it.
        offline: never fetch anything.
        progress: called with the bytes fetched so far and in all, where something is fetched.

    Raises:
        UnknownModel: if there is no such model, file, folder or repository.
        WeightsError: if the weights are damaged, not finite, or do not fit a BiRefNet; it says what differs.
        ConfigError: if they contradict `two_scale`, or the file was exported already.
        DownloadError: if they must be fetched and cannot be.
        DeviceError: if this machine has no such device.
    """
    device = torch.device(choose_device(str(device), TRAINS_ON))
    if isinstance(source, Mapping):
        where, weights = "these weights", Weights(find_state(source), None)
    else:
        path = resolve(source, weights=True).fetch(offline=offline, progress=progress).path
        where, weights = f"`{path}`", read_weights(path)
    released = not has_our_names(strip_prefixes(weights.state))
    state = to_ours(weights.state)
    config = weights.config or infer_config(state, two_scale)
    if two_scale not in (None, config.two_scale):
        raise ConfigError(f'`two_scale` "{two_scale}" contradicts {where}, saved with "{config.two_scale}"')
    skeleton = skeleton_of(config)
    check_fit(skeleton, state, where, released_names=released)
    return _fill(skeleton, state, device, dtype or torch.float32).eval()


def read_config(
    source: str | os.PathLike[str],
    *,
    two_scale: TwoScale | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> BiRefNetConfig:
    """The configuration of the network that `load_model` would make of the same `source`; see there for the errors."""
    weights = read_weights(resolve(source, weights=True).fetch(offline=offline, progress=progress).path)
    return weights.config or infer_config(to_ours(weights.state), two_scale)


def save_model(model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a model's weights and configuration to a `.safetensors` file, whole or not at all; overwrites.

    The entries get the names of the released weights, so that other programs can read them.

    Args:
        model: a `BiRefNet`, wrapped by data parallelism or compiling or not.
        path: ends in `.safetensors`.
        metadata: more to keep in the file's header, text only.

    Returns:
        The path.

    Raises:
        ConfigError: if the path ends otherwise or the metadata is not text.
        WeightsError: if the model's entries are not those of a `BiRefNet` of its configuration, are not finite, or
            the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"Weights are saved as .safetensors, got `{path}`")
    header = {"format": "pt", **(metadata or {})}
    if not all(isinstance(text, str) for text in header.values()):
        raise ConfigError("`metadata` must be text: safetensors keeps nothing else in its header")
    network = _unwrap(model)
    state = strip_prefixes(network.state_dict())
    check_fit(skeleton_of(network.config), state, "this model", released_names=False)
    header[CONFIG_ENTRY] = json.dumps(network.config.to_dict())
    _write({name: tensor.detach().cpu().contiguous() for name, tensor in to_released(state).items()}, path, header)
    return path


def _fill(skeleton: BiRefNet, state: dict[str, Tensor], device: torch.device, dtype: torch.dtype) -> BiRefNet:
    """Give the skeleton its tensors, one by one, so that hardly more than one copy exists; empties `state`."""
    filled = dict(skeleton.state_dict())  # what may be missing in a file (see `check_fit`) is here already
    while state:
        name, tensor = state.popitem()
        # A copy, because what was read may be the file itself, mapped: it must not change when the file does.
        filled[name] = tensor.detach().to(device, dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
    skeleton.load_state_dict(filled, strict=True, assign=True)
    model: BiRefNet = skeleton.to(device)
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    return model


def _unwrap(model: nn.Module) -> BiRefNet:
    while not isinstance(model, BiRefNet):
        inner = next((part for name, part in model.named_children() if name in ("module", "_orig_mod")), None)
        if inner is None:
            raise WeightsError(f"Wanted a BiRefNet, got a {type(model).__name__}")
        model = inner
    return model


def _write(state: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            save_file(state, part, metadata=header)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"Could not write `{path}`: {error}") from error
