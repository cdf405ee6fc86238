"""What a run would take: values, memory and time; `measuring.py` finds the figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSize:
    """Values of a part of the network: all, and those that learn."""

    name: str
    values: int
    learning: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one device.

    Attributes:
        weights: of the network, buffers included.
        gradients: of everything that learns.
        optimiser: AdamW's two values for each of them.
        average: the moving average of weights and statistics.
        activations: what the largest step holds besides, at its peak.
        exchange: buffers in which several processes exchange gradients.
        scaled: by how much the measured activations were scaled up; 1 if they were measured as they are.
    """

    weights: int
    gradients: int
    optimiser: int
    average: int
    activations: int
    exchange: int
    scaled: float

    @property
    def total(self) -> int:
        """All together. Libraries and what an allocator keeps in reserve come on top."""
        return self.weights + self.gradients + self.optimiser + self.average + self.activations + self.exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTime:
    """Time of one phase of the recipe.

    Attributes:
        steps: optimiser steps.
        epochs: passes over the data.
        size: of the samples, in words.
        batch: samples of a step, over all processes.
        step_seconds: time of a step.
        epoch_seconds: time of a pass over the data.
        waits_for_data: whether making the samples takes longer than computing with them.
        scaled: by how much the measured time was scaled up; 1 if it was measured as it is.
    """

    steps: int
    epochs: float
    size: str
    batch: int
    step_seconds: float
    epoch_seconds: float
    waits_for_data: bool
    scaled: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would take.

    Attributes:
        device: in words; memory and time are for `processes` such devices, one each.
        processes: that share a batch.
        parts: of the network.
        memory: of one device.
        phases: of the recipe.
        sample_seconds: to make one sample of the largest size.
        workers: that make samples at the same time, for each device.
    """

    device: str
    processes: int
    parts: tuple[PartSize, ...]
    memory: Memory
    phases: tuple[PhaseTime, ...]
    sample_seconds: float
    workers: int

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def epochs(self) -> float:
        """Of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def seconds(self) -> float:
        """Of the whole run, without validations and checkpoints."""
        return sum(phase.steps * phase.step_seconds for phase in self.phases)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, sums included."""
        values = asdict(self)
        values["memory"]["total"] = self.memory.total
        return {**values, "steps": self.steps, "epochs": self.epochs, "seconds": self.seconds}

    def __str__(self) -> str:
        return "\n".join([*self._sizes(), *self._memory(), *self._times()])

    def _sizes(self) -> list[str]:
        many = f", {self.processes} processes with one each" if self.processes > 1 else ""
        rows = [f"  {part.name:<16} {_millions(part.values)} {_millions(part.learning)}" for part in self.parts]
        return [f"device: {self.device}{many}", f"values: {'all':>19} {'learning':>10}", *rows]

    def _memory(self) -> list[str]:
        memory = self.memory
        rows = [f"memory of a device: {memory.total / _GIB:.2f} GiB"]
        for name in ("weights", "gradients", "optimiser", "average", "activations", "exchange"):
            note = f"  ({_how(memory.scaled)})" if name == "activations" else ""
            rows.append(f"  {name:<16} {getattr(memory, name) / _GIB:8.3f} GiB{note}")
        return rows

    def _times(self) -> list[str]:
        rows = []
        for phase in self.phases:
            waits = "; making samples is slower than computing: more workers help" if phase.waits_for_data else ""
            rows.append(
                f"phase: {phase.steps} steps ({phase.epochs:.4g} epochs) of {phase.batch} samples, {phase.size}: "
                f"{phase.step_seconds:.3g} s a step ({_how(phase.scaled)}), "
                f"{duration(phase.epoch_seconds)} an epoch{waits}"
            )
        made = f"{self.sample_seconds * 1000:.0f} ms to make a sample of the largest size"
        rows.append(f"data: {made}, {self.workers} worker{'' if self.workers == 1 else 's'} for each device")
        whole = f"{self.steps} steps, {self.epochs:.4g} epochs, {duration(self.seconds)}"
        return [*rows, f"whole run: {whole}; validations and the exchange between processes are not counted"]


def duration(seconds: float) -> str:
    """Seconds in words: "0:05:09", "3 d 4 h"."""
    hours, rest = divmod(round(seconds), 3600)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _how(scaled: float) -> str:
    return "measured" if scaled == 1 else f"measured on less, times {scaled:.3g}"


def _millions(values: int) -> str:
    return f"{values / 1e6:8.2f} M"
