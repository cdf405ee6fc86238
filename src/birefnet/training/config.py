"""A recipe: one YAML file that says all about a run, read into frozen records and checked at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from birefnet.data.dataset import DataConfig, parse_sources
from birefnet.errors import ConfigError, require
from birefnet.network.config import BiRefNetConfig
from birefnet.training.losses import LossWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training at one size.

    Attributes:
        steps: optimiser steps.
        size: side of the square samples, a multiple of 32.
        batch: samples a step.
    """

    steps: int
    size: int
    batch: int

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ConfigError(f"A phase has {self.steps} steps of {self.batch} samples; both must be above 0")
        if self.size < 32 or self.size % 32:
            raise ConfigError(f"A phase's `size` is {self.size}; it must be a multiple of 32")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How the weights move.

    Attributes:
        phases: in the order in which they run.
        lr: AdamW's rate at its height.
        backbone_lr: factor on the backbone's rate.
        weight_decay: AdamW's; biases and norms have none.
        warmup: steps in which the rate rises from 0; then it falls by a cosine to `final_lr` of its height.
        final_lr: part of the rate that is left at the end.
        clip: largest norm of the gradient.
        ema: decay of the moving average of the weights; 0 keeps none.
        precision: "bf16" computes the network under autocast, "fp32" does not.
        workers: processes that make samples.
        validate_every, save_every: steps between validations and between checkpoints.
        report_every: steps between lines of the log.
    """

    phases: tuple[Phase, ...]
    lr: float = 1e-3
    backbone_lr: float = 1.0
    weight_decay: float = 1e-2
    warmup: int = 100
    final_lr: float = 0.01
    clip: float = 5.0
    ema: float = 0.998
    precision: Literal["bf16", "fp32"] = "bf16"
    workers: int = 2
    validate_every: int = 1000
    save_every: int = 500
    report_every: int = 50

    def __post_init__(self) -> None:
        if not self.phases:
            raise ConfigError("`training.phases` is empty; give at least one phase with steps, size and batch")
        if self.precision not in ("bf16", "fp32"):
            raise ConfigError(f"`training.precision` is {self.precision!r}; choose bf16 or fp32")
        if not self.lr > 0:
            raise ConfigError(f"`training.lr` is {self.lr}; it must be above 0")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"`training.ema` is {self.ema}; it must be at least 0 and below 1")

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(phase.steps for phase in self.phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """On what a run is judged while it trains.

    Attributes:
        root: folder that holds the sets.
        sets: folders below it, each with `im` and `gt`.
        size: side of the network's input.
    """

    root: str
    sets: tuple[str, ...]
    size: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about a run.

    Attributes:
        name: for logs and file names.
        network: the architecture.
        data: what it trains on.
        training: how.
        losses: the terms' weights.
        validation: on what it is judged, or None.
        start: a backbone file to start from, or None for random weights.
        seed: of everything random.
    """

    name: str
    network: BiRefNetConfig
    data: DataConfig
    training: TrainingConfig
    losses: LossWeights = field(default_factory=LossWeights)
    validation: ValidationConfig | None = None
    start: str | None = None
    seed: int = 7

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary of all values, defaults included."""
        return {**asdict(self), "network": self.network.to_dict()}


def load_recipe(path: Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: a YAML file.
        overrides: dotted keys with values as YAML, such as ``{"training.lr": "2e-5"}``.

    Raises:
        ConfigError: if the file is missing or no YAML, if a key is unknown (the nearest is named) or a value wrong.
    """
    yaml = require("yaml", "train")
    try:
        values = _read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The recipe `{path}` cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"The recipe `{path}` is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The recipe `{path}` holds no keys")
    for key, text in (overrides or {}).items():
        _set(values, key, _read_yaml(text))
    return parse_recipe(values)


def _read_yaml(text: str) -> Any:
    """YAML in which 2e-5 is a number, as everybody means it; YAML 1.1 asks for a dot and calls it text."""
    yaml = require("yaml", "train")

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        """SafeLoader with one more way to write a float; a class of its own, so nobody else's loader changes."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
    )
    return yaml.load(text, Loader)


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values; see `load_recipe` for the errors."""
    entries = _known(Recipe, values, "")
    data = _known(DataConfig, entries.get("data"), "data.")
    for kind in ("pairs", "cutouts", "backgrounds"):
        data[kind] = parse_sources(data.get(kind))
    training = _known(TrainingConfig, entries.get("training"), "training.")
    training["phases"] = tuple(_make(Phase, phase, "training.phases.") for phase in training.get("phases") or ())
    entries["data"] = _build(DataConfig, data, "data.")
    entries["training"] = _build(TrainingConfig, training, "training.")
    entries["network"] = _make(BiRefNetConfig, _tuples(entries.get("network")), "network.")
    if "losses" in entries:
        entries["losses"] = _make(LossWeights, entries["losses"], "losses.")
    if entries.get("validation") is not None:
        entries["validation"] = _make(ValidationConfig, _tuples(entries["validation"]), "validation.")
    recipe: Recipe = _build(Recipe, entries, "")
    return recipe


def _make(record: type[Any], values: object, prefix: str) -> Any:
    return _build(record, _known(record, values, prefix), prefix)


def _known(record: type[Any], values: object, prefix: str) -> dict[str, Any]:
    """`values` as a dictionary whose keys are all fields of `record`."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"`{prefix.rstrip('.') or 'recipe'}` should hold keys, got {values!r}")
    names = [entry.name for entry in fields(record)]
    for key in values:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"; did you mean `{prefix}{near[0]}`?" if near else f"; known: {', '.join(names)}"
            raise ConfigError(f"Unknown key `{prefix}{key}`{hint}")
    return dict(values)


def _build(record: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    try:
        return record(**values)
    except TypeError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"`{prefix.rstrip('.') or 'recipe'}`: {str(error).split('__init__() ')[-1]}") from error


def _tuples(values: object) -> object:
    """Lists of a mapping as tuples, which frozen records hold."""
    if not isinstance(values, Mapping):
        return values
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _set(values: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"`{key}` cannot be set: `{parent}` holds no keys")
    values[last] = value
