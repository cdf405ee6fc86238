"""What every runtime is: a normalised batch in, logits out, and the input it expects."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from birefnet import memory
from birefnet.errors import ConfigError, InputError, WeightsError
from birefnet.inputs import MULTIPLE, nearest_multiple
from birefnet.pixels.prepare import InputSpec

Batch = NDArray[np.float32]  # (B, 3, h, w), normalised by the spec's mean and std
Logits = NDArray[np.float32]  # (B, 1, h, w), before the sigmoid

# How PyTorch runs a network; see `birefnet.runtimes.torch.TorchRuntime`.
Mode = Literal["eager", "compiled", "graphs"]
Memory = Literal["normal", "low"]


@runtime_checkable
class Runtime(Protocol):
    """Runs one network on one device; safe to call from several threads.

    Attributes:
        name: the model, as a person would name it, for example ``"nano"``.
        device: where it runs, for example ``"cpu"`` or ``"cuda:0"``.
        spec: the input it was made for.
        dynamic: whether other sizes than the spec's (multiples of 32) are accepted.
    """

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def spec(self) -> InputSpec: ...

    @property
    def dynamic(self) -> bool: ...

    def __call__(self, batch: Batch) -> Logits:
        """(B, 3, h, w) float32 normalised -> (B, 1, h, w) float32 logits, all finite.

        Raises:
            InputError: if the batch has another shape or type than the network takes.
            WeightsError: if the network gives values that are not finite.
        """
        ...


def spec_at(spec: InputSpec, size: tuple[int, int] | None, *, dynamic: bool, name: str) -> InputSpec:
    """A network's input at another (width, height); as it is for None.

    Raises:
        ConfigError: if the network takes one size only, or the size is no multiple of 32.
    """
    if size is None or size == (spec.width, spec.height):
        return spec
    if not dynamic:
        raise ConfigError(f"`{name}` takes pictures of {spec.width}x{spec.height} only, not {size[0]}x{size[1]}.")
    return replace(spec, width=size[0], height=size[1])


def check_batch(batch: Batch, spec: InputSpec, *, dynamic: bool) -> None:
    """Refuse a batch that the network would misread.

    Raises:
        InputError: if it is not (B, 3, h, w) float32, or of a size the network does not take.
    """
    if batch.ndim != 4 or batch.shape[1] != 3 or batch.dtype != np.float32 or not batch.size:
        raise InputError(f"Wanted a batch of (B, 3, height, width) float32, got {batch.shape} {batch.dtype}.")
    height, width = batch.shape[2:]
    if not dynamic and (height, width) != (spec.height, spec.width):
        raise InputError(f"This network takes {spec.width}x{spec.height} pixels only, got {width}x{height}.")
    if height % MULTIPLE or width % MULTIPLE:
        nearest = f"{nearest_multiple(width)}x{nearest_multiple(height)}"
        raise InputError(f"Width and height must be multiples of {MULTIPLE}, got {width}x{height}; nearest: {nearest}.")


def fits(runtime: Runtime, batch: Batch, *, low: bool = False) -> AbstractContextManager[None]:
    """A context in which memory that runs out becomes an `OutOfMemory` with the ways out.

    Args:
        runtime: what runs.
        batch: (B, 3, h, w), what it was given.
        low: whether the runtime has a way with less memory, and does not use it.
    """
    height, width = batch.shape[2:]
    side = nearest_multiple(max(height, width) // 2) if runtime.dynamic else None
    device = None if runtime.device.startswith("cpu") else "cpu"
    hint = memory.ways_out(side=side, low=low, device=device)
    return memory.fitting(f"`{runtime.name}` at {width}x{height} pixels on `{runtime.device}`", hint=hint)


def check_shape(logits: Logits, batch: Batch, name: str) -> Logits:
    """Give back the logits if they are of the batch's shape.

    Raises:
        WeightsError: if they are not.
    """
    wanted = (batch.shape[0], 1, *batch.shape[2:])
    if logits.shape != wanted:
        raise WeightsError(f"The network `{name}` gave an output of {logits.shape}, wanted {wanted}.")
    return logits


def check_logits(logits: Logits, batch: Batch, name: str) -> Logits:
    """Give back the logits if they are what a network must give; a wrong answer must never become a black square.

    Raises:
        WeightsError: if their shape does not belong to the batch, or some are not finite.
    """
    if not np.isfinite(check_shape(logits, batch, name)).all():
        raise WeightsError(
            f"The network `{name}` gave values that are not finite: its weights are damaged, or its precision too low."
        )
    return logits
