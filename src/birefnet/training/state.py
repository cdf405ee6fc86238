"""All that is needed to go on: taken from the network and the optimiser of any team, given back to those of another.

Entries go by the names of the weights and hold whole tensors, however a team wraps the network or cuts it up. So a
run may go on with another number of processes.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from birefnet.errors import ConfigError, WeightsError
from birefnet.files import write_whole
from birefnet.training.average import Average, local

VERSION = 1


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every entry of the model by its own name, whole; the tensors may be the live ones. All processes must call it."""
    state: dict[str, Any] = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    return dict(state)


def averaged_weights(model: nn.Module, average: Average) -> dict[str, Tensor]:
    """As `whole_weights`, but the moving average, copied."""
    with average.swapped():
        return {name: tensor.detach().clone() for name, tensor in whole_weights(model).items()}


def take_state(model: nn.Module, optimiser: torch.optim.Optimizer, average: Average) -> dict[str, Any]:
    """Weights, average and optimiser on the CPU. All processes must call it; only the first gets everything."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    moments: dict[str, Any] = dict(get_optimizer_state_dict(model, optimiser, options=options))
    moments["state"] = {name: _plain(values) for name, values in moments.get("state", {}).items()}
    return {
        "weights": _plain(whole_weights(model)),
        "average": _plain(averaged_weights(model, average)),
        "optimiser": moments,
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Tensors on the CPU and contiguous."""
    return {name: value.cpu().contiguous() if isinstance(value, Tensor) else value for name, value in values.items()}


def give_state(state: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer, average: Average) -> None:
    """Undo `take_state`.

    Raises:
        ConfigError: if the state is of another network, or of one of which other parts were trained.
    """
    options = StateDictOptions(full_state_dict=True, strict=True)
    theirs, ours = set(state["weights"]), set(whole_weights(model))
    if theirs != ours:
        raise ConfigError(_other_network(f"its weights differ, for example `{min(theirs ^ ours)}`"))
    grouped = [set(group["params"]) for group in state["optimiser"]["param_groups"]]
    now: dict[str, Any] = dict(get_optimizer_state_dict(model, optimiser, options=options))
    if grouped != [set(group["params"]) for group in now["param_groups"]]:
        raise ConfigError(_other_network("other parts of it are trained"))
    try:
        with average.swapped():
            set_model_state_dict(model, state["average"], options=options)
        set_model_state_dict(model, state["weights"], options=options)
    except RuntimeError as error:  # torch lists the entries whose shapes differ
        raise ConfigError(_other_network(str(error).splitlines()[-1].strip())) from error
    set_optimizer_state_dict(model, optimiser, state["optimiser"], options=options)
    _lay_out_like_weights(optimiser)


def _lay_out_like_weights(optimiser: torch.optim.Optimizer) -> None:
    """Give every moment the memory layout of its weight, which may be another than that of the run that saved it.

    Fused optimisers walk through memory and would add moments to the wrong weights.
    """
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and local(value).stride() != local(parameter).stride():
                assert value is local(value), "pieces of weights are always contiguous, and so are saved moments"
                values[name] = torch.empty_like(parameter).copy_(value)


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write a state so that whatever interrupts it, the file at `path` is the old one or the new one, whole.

    Raises:
        WeightsError: if it cannot be written.
    """

    def save(stream: BinaryIO) -> None:
        torch.save({"version": VERSION, **state}, stream)
        stream.flush()
        os.fsync(stream.fileno())  # or a power cut could leave the new name on an empty file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"The state of the run cannot be written to `{path}`: {error}") from error


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote; nothing in the file is executed.

    Raises:
        WeightsError: if it is damaged or of another version.
    """
    try:
        state: object = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"The state of the run `{path}` is damaged or cannot be read; remove it and start anew, perhaps from the "
            "`last.safetensors` of the run with `start.weights`"
        ) from error
    version = state.get("version") if isinstance(state, dict) else None
    if not isinstance(state, dict) or version != VERSION:
        raise WeightsError(
            f"The state of the run `{path}` has version {version}, this program writes {VERSION}; choose another folder"
        )
    return dict(state)


def _other_network(why: str) -> str:
    return (
        f"The run's folder holds the state of another network or another choice of what is trained ({why}); "
        "choose another folder, or start from its `last.safetensors` with `start.weights`"
    )
