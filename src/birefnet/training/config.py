"""What a recipe says, as frozen records that are checked when they are made; `reading.py` reads them from YAML.

Everything a user may set is here, in `settings.py` (the part named `training`, offered here too), in `data` and in
`network/config.py`; docs/recipes.md explains every key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from birefnet.data.config import DataConfig, Source
from birefnet.errors import ConfigError
from birefnet.network.config import BiRefNetConfig
from birefnet.training.losses import LossWeights, check_terms
from birefnet.training.settings import (
    DynamicSize,
    Interval,
    LoraConfig,
    Phase,
    Size,
    TrainingConfig,
    check,
    check_side,
    choose,
)

__all__ = [
    "CheckpointConfig",
    "DynamicSize",
    "FinetuneConfig",
    "Interval",
    "LoraConfig",
    "LossWeights",
    "Phase",
    "Recipe",
    "Size",
    "StartConfig",
    "TrainingConfig",
    "ValidationConfig",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """The end of a run, in which some terms of the loss count less (`schedule.py`).

    Attributes:
        last: how long before the end it begins, in epochs.
        factors: term of the loss to the factor on its weight.
        mode: "compounding" multiplies again at the start of every epoch, as the reference really runs it;
            "switch" multiplies once.
    """

    last: Interval
    factors: Mapping[str, float]
    mode: Literal["compounding", "switch"] = "switch"

    def __post_init__(self) -> None:
        choose("finetune.mode", self.mode, "compounding", "switch")
        if self.last.unit != "epochs":
            raise ConfigError(f"`finetune.last` is {self.last}; it counts epochs, such as `20 epochs`")
        check_terms(self.factors, "finetune.factors.")
        for term, factor in self.factors.items():
            check(factor >= 0, f"finetune.factors.{term}", factor, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """On what a run is judged while it trains.

    Attributes:
        root: folder that holds the sets.
        task: folder between `root` and the sets, as in `data.task`; None for none.
        sets: folders below it, each with `im` and `gt`; "." is the folder itself.
        size: side of the network's input, or (width, height); None for that of the model the run starts from, else
            that of the last phase. The weights that are saved name it as theirs.
        metrics: names of `birefnet.evaluation`'s metrics.
        limit: pictures of each set that are looked at, evenly spread; None for all.
        sheet: pictures on a sheet of predictions.
    """

    root: str
    task: str | None = None
    sets: tuple[str, ...] = (".",)
    size: Size | None = None
    metrics: tuple[str, ...] = ("IoU", "MAE", "S")
    limit: int | None = None
    sheet: int = 8

    def __post_init__(self) -> None:
        if not self.sets or not self.metrics:
            raise ConfigError("`validation.sets` and `validation.metrics` must each name at least one")
        if self.size is not None:
            for side in (self.size,) if isinstance(self.size, int) else self.size:
                check_side(side, "validation.size")
        check(self.limit is None or self.limit >= 1, "validation.limit", self.limit)
        check(self.sheet >= 0, "validation.sheet", self.sheet, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartConfig:
    """Where the weights come from; exactly one of the two.

    Attributes:
        backbone: weights of the backbone alone: a file, or ``hub:OWNER/NAME[@REVISION][/FILE]``.
        weights: a whole network: a file, or a model by name such as ``general`` or ``nano``.
    """

    backbone: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if (self.backbone is None) == (self.weights is None):
            raise ConfigError("`start` needs either `backbone` or `weights`, not both and not neither")

    @classmethod
    def from_text(cls, text: str) -> StartConfig:
        """A plain text stands for the backbone's file."""
        return cls(backbone=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """Which weights stay in the run's folder beside the last and the best.

    Attributes:
        last: how long before the end weights begin to be kept; None keeps none.
        every: interval between those that are kept.
        best: the metric, of those of the validation, that says which weights are the best.
    """

    last: Interval | None = None
    every: Interval = field(default_factory=lambda: Interval(5, "epochs"))
    best: str = "IoU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about a run.

    Attributes:
        name: for logs and file names.
        data: what it trains on.
        training: how.
        network: the architecture; None takes that of `start.weights`.
        losses: the terms' weights.
        finetune: what changes in them near the end, or None.
        validation: on what it is judged, or None.
        start: where the weights come from; None for random ones.
        checkpoints: which weights are kept.
        seed: of everything random.
    """

    name: str
    data: DataConfig
    training: TrainingConfig
    network: BiRefNetConfig | None = None
    losses: LossWeights = field(default_factory=LossWeights)
    finetune: FinetuneConfig | None = None
    validation: ValidationConfig | None = None
    start: StartConfig | None = None
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    seed: int = 7

    def __post_init__(self) -> None:
        if self.network is None and (self.start is None or self.start.weights is None):
            raise ConfigError("`network` is missing; give it, or `start.weights` to take it from a whole checkpoint")
        if not self.name or re.search(r"[/\\]", self.name):
            raise ConfigError(f"`name` is {self.name!r}; it becomes a file's name, so it needs letters and no slashes")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, defaults included, from which `reading.parse_recipe` makes an equal recipe."""
        values: dict[str, Any] = _plain(self)
        return values


def _plain(value: object) -> Any:
    if isinstance(value, Interval):
        return value.count if value.unit == "steps" else str(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Source):
        return {entry["folder"]: {k: v for k, v in entry.items() if k != "folder"} for entry in map(_plain, value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
