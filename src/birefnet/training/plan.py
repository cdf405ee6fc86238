"""What happens at which step: a pure function of the recipe, the length of an epoch and the step's number.

Nothing here is remembered between steps, so a run that stops goes on as if it never had, on any number of processes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from birefnet.errors import ConfigError
from birefnet.training.config import CheckpointConfig
from birefnet.training.settings import Interval, Phase, TrainingConfig

_SIZES, _DROPOUT = 1, 2  # what a random number is for; keeps the streams of one seed apart


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step.

    Attributes:
        number: counted from 0.
        phase: which of the recipe's phases, from 0.
        epoch: passes over the data that are complete before it.
        size: (width, height) of its samples in pixels.
        first: number of its first sample in the stream.
        batch: its samples, over all processes and accumulation together.
        lr: factor on every rate of the recipe.
    """

    number: int
    phase: int
    epoch: int
    size: tuple[int, int]
    first: int
    batch: int
    lr: float


class Plan:
    """All steps of a run.

    Args:
        config: the recipe's `training`.
        seed: the recipe's; decides the sizes where they are drawn.
        epoch_length: samples in one pass over the data.

    Attributes:
        steps: of all phases together.
        epochs: passes over the data that are begun in them.
    """

    def __init__(self, config: TrainingConfig, *, seed: int, epoch_length: int) -> None:
        if epoch_length < 1:
            raise ConfigError(f"An epoch has {epoch_length} samples; there is nothing to train on")
        self.config, self.seed, self.epoch_length = config, seed, epoch_length
        self._first_steps, self._first_samples = [0], [0]
        nominal = 0  # where the phase would end if epochs were whole numbers of batches
        for phase in config.phases:
            sample = self._first_samples[-1]
            if phase.steps is not None:
                steps = phase.steps
                nominal = sample + steps * phase.batch
            else:
                nominal += (phase.epochs or 0) * epoch_length
                steps = max(1, -(-(nominal - sample) // phase.batch))
            self._first_steps.append(self._first_steps[-1] + steps)
            self._first_samples.append(sample + steps * phase.batch)
        self.steps = self._first_steps[-1]
        self.epochs = self.at(self.steps - 1).epoch + 1

    def at(self, number: int) -> Step:
        """Step `number`, from 0 to `steps` - 1."""
        index = min(bisect_right(self._first_steps, number), len(self.config.phases)) - 1
        phase = self.config.phases[index]
        first = self._first_samples[index] + (number - self._first_steps[index]) * phase.batch
        epoch = first // self.epoch_length
        return Step(number, index, epoch, self._size(phase, number), first, phase.batch, self._lr(number, phase))

    def samples(self, done: int) -> int:
        """Samples seen in the first `done` steps."""
        return self._first_samples[-1] if done >= self.steps else self.at(done).first

    def phase_steps(self, index: int) -> int:
        """Steps of a phase."""
        return self._first_steps[index + 1] - self._first_steps[index]

    def due(self, every: Interval, done: int) -> bool:
        """Whether something that happens `every` so often happens after `done` steps."""
        if every.unit == "steps":
            return done % every.count == 0
        length = every.count * self.epoch_length
        return self.samples(done) // length > self.samples(done - 1) // length

    def kept(self, rule: CheckpointConfig, done: int) -> str | None:
        """The name under which weights are kept after `done` steps, such as ``epoch_0450``; None if they are not."""
        if rule.last is None or not self.due(rule.every, done):
            return None
        epochs = self.samples(done) // self.epoch_length
        left = self.steps - done if rule.last.unit == "steps" else self.epochs - epochs
        if left > rule.last.count:
            return None
        return f"epoch_{epochs:04d}" if rule.every.unit == "epochs" else f"step_{done:06d}"

    def sizes(self) -> list[tuple[tuple[int, int], int]]:
        """The largest (width, height) and the batch of every phase."""
        found = []
        for phase in self.config.phases:
            largest = phase.shape
            if phase.sizes is not None:
                largest = (max(phase.sizes), max(phase.sizes))
            if phase.dynamic is not None:
                largest = (phase.dynamic.largest, phase.dynamic.largest)
            found.append((largest, phase.batch))
        return found

    def _size(self, phase: Phase, number: int) -> tuple[int, int]:
        if phase.dynamic is not None:
            choices = range(phase.dynamic.smallest, phase.dynamic.largest + 1, phase.dynamic.step)
            width, height = _random(self.seed, _SIZES, number).integers(len(choices), size=2)
            return choices[int(width)], choices[int(height)]
        if phase.sizes is not None:
            side = phase.sizes[int(_random(self.seed, _SIZES, number).integers(len(phase.sizes)))]
            return side, side
        return phase.shape

    def _lr(self, number: int, phase: Phase) -> float:
        """A linear rise, then a cosine fall or none; times sqrt(batch / lr_batch)."""
        config = self.config
        scale = math.sqrt(phase.batch / config.lr_batch) if config.lr_batch else 1.0
        if number < config.warmup:
            return scale * (number + 1) / config.warmup
        if config.schedule == "constant":
            return scale
        done = (number - config.warmup) / max(1, self.steps - config.warmup)
        return scale * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def _random(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed, purpose, number))


def dropout_seed(seed: int, sample: int) -> int:
    """The seed for what is dropped while a part of a batch is computed whose first sample has number `sample`.

    It does not depend on the step or the process, so that the same parts give the same result however many
    processes share them.
    """
    return int(np.random.SeedSequence((seed, _DROPOUT, sample)).generate_state(1, np.uint64)[0])


def cut(samples: int, most: int | None) -> list[int]:
    """`samples` in as few parts as possible of at most `most` each, as even as possible: cut(5, 2) is [2, 2, 1]."""
    parts = 1 if most is None else -(-samples // most)
    return [samples // parts + (index < samples % parts) for index in range(parts)]
