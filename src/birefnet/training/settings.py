"""How the weights move: the `training` part of a recipe, as frozen records that are checked when they are made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from birefnet.errors import ConfigError, did_you_mean

Size = int | tuple[int, int]  # the side of a square, or (width, height), in pixels


def check(holds: bool, key: str, value: object, wish: str = "above 0") -> None:
    """Raise ConfigError unless `holds`: what, got, wanted."""
    if not holds:
        raise ConfigError(f"`{key}` is {value}; it must be {wish}")


def check_side(side: int, key: str) -> None:
    """Raise ConfigError unless `side` is a multiple of 32 above 0."""
    if side < 32 or side % 32:
        raise ConfigError(f"`{key}` is {side}; it must be a multiple of 32")


def choose(key: str, value: object, *choices: str) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"`{key}` is {value!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")


def unknown(what: str, key: str, known: Sequence[str], prefix: str = "") -> ConfigError:
    """The error about a word that is none of `known`; its hint is the nearest of them, or it lists all."""
    near = did_you_mean(key, known, prefix=prefix)
    return ConfigError(f"{what} `{prefix}{key}`{'' if near else '; known: ' + ', '.join(known)}", hint=near)


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of training: `count` optimiser steps or epochs. In YAML: ``500``, ``1 epoch``, ``5 epochs``."""

    count: int
    unit: Literal["steps", "epochs"] = "steps"

    def __post_init__(self) -> None:
        check(self.count >= 1, "interval", self.count, "1 or more")

    @classmethod
    def from_text(cls, text: str) -> Interval:
        """The interval that `text` names.

        Raises:
            ConfigError: if it names none.
        """
        found = re.fullmatch(r"(\d+)\s*(steps?|epochs?)?", text.strip())
        if not found or int(found[1]) < 1:
            raise ConfigError(f"`{text}` is no interval; write steps as a number above 0, such as 500, or `5 epochs`")
        return cls(int(found[1]), "epochs" if (found[2] or "").startswith("epoch") else "steps")

    def __str__(self) -> str:
        return f"{self.count} {self.unit if self.count != 1 else self.unit[:-1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicSize:
    """Every step has a width and a height of its own, drawn from the seed and the step's number.

    Attributes:
        smallest, largest: bounds of each side in pixels, both possible.
        step: distance between possible sides, a multiple of 32.
    """

    smallest: int = 256
    largest: int = 2304
    step: int = 32

    def __post_init__(self) -> None:
        for name in ("smallest", "largest", "step"):
            check_side(getattr(self, name), f"dynamic.{name}")
        if self.smallest > self.largest:
            raise ConfigError(f"`dynamic.smallest` {self.smallest} is above `dynamic.largest` {self.largest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training at one size and batch.

    Attributes:
        steps: optimiser steps; give either these or `epochs`.
        epochs: passes over the data.
        size: side of the square samples or (width, height), in multiples of 32.
        batch: samples of one optimiser step, over all processes and accumulation together.
        sizes: sides of squares of which every step draws one, instead of `size` (multi-scale training).
        dynamic: a width and a height drawn for every step, instead of `size`.
    """

    size: Size
    batch: int
    steps: int | None = None
    epochs: int | None = None
    sizes: tuple[int, ...] | None = None
    dynamic: DynamicSize | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError(f"A phase has `steps` {self.steps} and `epochs` {self.epochs}; give exactly one of them")
        check((self.steps or self.epochs or 0) >= 1, "steps` or `epochs` of a phase", self.steps or self.epochs)
        check(self.batch >= 1, "batch` of a phase", self.batch)
        for side in (*self.shape, *(self.sizes or ())):
            check_side(side, "size` of a phase")
        if self.sizes is not None and (not self.sizes or self.dynamic is not None):
            raise ConfigError("A phase's `sizes` need at least one side, and exclude `dynamic`")

    @property
    def shape(self) -> tuple[int, int]:
        """`size` as (width, height)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters (Hu et al., ICLR 2022) instead of training the weights themselves.

    Attributes:
        rank: inner width of an adapter.
        alpha: its scale times `rank`.
        dropout: of its input.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check(self.rank >= 1, "training.lora.rank", self.rank)
        check(self.alpha > 0, "training.lora.alpha", self.alpha)
        check(0 <= self.dropout < 1, "training.lora.dropout", self.dropout, "at least 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How the weights move.

    Attributes:
        phases: in the order in which they run.
        lr: AdamW's rate at its height.
        lr_batch: if given, `lr` is for batches of this many samples and is multiplied by sqrt(batch / lr_batch).
        backbone_lr: factor on the backbone's rate.
        weight_decay: AdamW's.
        decay: what decays: "matrices" spares biases and norms, "all" does not.
        schedule: after the warm-up the rate falls by a "cosine" to `final_lr` of its height, or stays "constant".
        warmup: steps in which the rate rises from 0.
        final_lr: part of the rate that is left at the end of a cosine.
        clip: largest norm of the gradient; 0 does not clip.
        ema: decay of the moving average of the weights; 0 keeps none.
        precision: "bf16" and "fp16" compute the network under autocast, "fp32" does not.
        micro_batch: samples that a process computes at once; more are done one after the other. None: all at once.
        workers: processes that make samples, per training process.
        batch_norm: statistics from the "batch" of each process, "synchronised" over processes, or "frozen".
        freeze: backbone weights that stay as they are: "none", "all", the first N of its stages, or "auto": what is
            usual for the backbone (DINOv3 frozen, the others not).
        dropout, drop_path: rates instead of the network's own; None keeps them.
        activation_checkpointing: what is computed again in the backward pass to save memory.
        compile: run the network through `torch.compile`.
        lora: train low-rank adapters only, or None.
        validate_every, save_every, report_every: intervals between validations, checkpoints, lines of the log.
        sheet_every: interval between sheets of predictions; None: at every validation.
    """

    phases: tuple[Phase, ...]
    lr: float = 1e-3
    lr_batch: int | None = None
    backbone_lr: float = 1.0
    weight_decay: float = 1e-2
    decay: Literal["matrices", "all"] = "matrices"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 100
    final_lr: float = 0.01
    clip: float = 5.0
    ema: float = 0.998
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    micro_batch: int | None = None
    workers: int = 2
    batch_norm: Literal["batch", "synchronised", "frozen"] = "batch"
    freeze: int | Literal["auto", "none", "all"] = "auto"
    dropout: float | None = None
    drop_path: float | None = None
    activation_checkpointing: Literal["none", "backbone", "all"] = "none"
    compile: bool = False
    lora: LoraConfig | None = None
    validate_every: Interval = Interval(1000)
    save_every: Interval = Interval(500)
    report_every: Interval = Interval(50)
    sheet_every: Interval | None = None

    def __post_init__(self) -> None:
        if not self.phases:
            raise ConfigError(
                "`training.phases` is empty; give at least one phase with steps or epochs, size and batch"
            )
        check(self.lr > 0, "training.lr", self.lr)
        check(self.lr_batch is None or self.lr_batch >= 1, "training.lr_batch", self.lr_batch)
        check(self.micro_batch is None or self.micro_batch >= 1, "training.micro_batch", self.micro_batch)
        for name in ("backbone_lr", "weight_decay", "warmup", "clip", "workers"):
            check(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "0 or more")
        check(0 <= self.final_lr <= 1, "training.final_lr", self.final_lr, "between 0 and 1")
        for name in ("ema", "dropout", "drop_path"):
            value = getattr(self, name)
            check(value is None or 0 <= value < 1, f"training.{name}", value, "at least 0 and below 1")
        choose("training.decay", self.decay, "matrices", "all")
        choose("training.schedule", self.schedule, "cosine", "constant")
        choose("training.precision", self.precision, "bf16", "fp16", "fp32")
        choose("training.batch_norm", self.batch_norm, "batch", "synchronised", "frozen")
        choose("training.activation_checkpointing", self.activation_checkpointing, "none", "backbone", "all")
        if isinstance(self.freeze, str):
            choose("training.freeze", self.freeze, "auto", "none", "all")
        else:
            check(self.freeze >= 0, "training.freeze", self.freeze, "0 or more")
