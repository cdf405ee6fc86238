"""Judging a network on pairs at their original size, while it trains; several processes share the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from birefnet.data.pairs import Pair, find_all_pairs, set_folders
from birefnet.errors import ConfigError, DataError
from birefnet.evaluation.masks import read_mask
from birefnet.evaluation.measure import METRICS, Measurement, Summary, check_metrics, measure, summarise
from birefnet.pixels.alpha import finish
from birefnet.pixels.compose import to_mask
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec, prepare
from birefnet.training.config import ValidationConfig
from birefnet.training.distributed import Team

T = TypeVar("T")
Grey = npt.NDArray[np.uint8]  # (H, W)
ALL = "all"  # the name under which all pictures of all sets are summed up


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of a sheet: picture (H, W, 3), truth (H, W) and prediction (H, W), uint8."""

    name: str
    picture: npt.NDArray[np.uint8]
    truth: Grey
    prediction: Grey


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a validation found: scores per set and under "all" over all pictures alike, and rows for a sheet."""

    scores: dict[str, Summary]
    shown: list[Shown]

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {'undefined' if value is None else f'{value:.4f}'}"
            for name, value in self.scores[ALL].values.items()
        )

    def value(self, metric: str) -> float | None:
        """`metric` over all pictures."""
        value = self.scores[ALL].values[metric]
        return None if value is None else float(value)


class Validation:
    """The pictures and metrics of a recipe's validation, found once.

    Args:
        config: which pictures, and what is measured.
        best: the metric that says which weights are the best.

    Raises:
        ConfigError: if a metric is unknown, or `best` is not among those measured.
        DataError: if a set is missing or empty, or pictures and masks do not match.
    """

    def __init__(self, config: ValidationConfig, best: str) -> None:
        check_metrics(config.metrics)
        if best not in config.metrics:
            raise ConfigError(
                f"`checkpoints.best` is {best}, which is not among `validation.metrics` "
                f"({', '.join(config.metrics)}); add it there or choose one of them"
            )
        self.config, self.best = config, best
        folders = set_folders(Path(config.root), "+".join(config.sets), config.task)
        found = find_all_pairs([(folder, None) for folder in folders])
        names = [
            folder.resolve().name if name == "." else name for name, folder in zip(config.sets, folders, strict=True)
        ]
        self.pairs = [
            (name, pair)
            for name, pairs in zip(names, found, strict=True)
            for pair in spread(pairs, config.limit or len(pairs))
        ]
        width, height = (config.size, config.size) if isinstance(config.size, int) else config.size
        self.spec = InputSpec(width=width, height=height)
        self._shown = {index for index, _ in spread(list(enumerate(self.pairs)), config.sheet)}

    def better(self, value: float | None, than: float | None) -> bool:
        """Whether a value of the metric `best` is better than an earlier one; an undefined one never is."""
        if value is None or than is None:
            return value is not None
        return value > than if METRICS[self.best].better == "higher" else value < than

    def run(
        self, network: nn.Module, team: Team, *, sheet: bool = False, leave: Callable[[], bool] = lambda: False
    ) -> Judgement | None:
        """Judge `network`, which is in evaluation mode. Every process must call it and gets the whole result.

        Args:
            sheet: whether to keep some predictions to be shown.
            leave: asked before every picture.

        Returns:
            None if any process was told to leave.
        """
        measured: list[tuple[int, Measurement]] = []
        shown: list[tuple[int, Shown]] = []
        for index in range(team.rank, len(self.pairs), team.count):
            if leave():
                break
            name, pair = self.pairs[index]
            picture = read_picture(pair.picture).rgb
            prediction = self._predict(network, picture, team)
            truth = read_truth(pair, prediction.shape)
            measured.append((index, measure(prediction, truth, self.config.metrics)))
            if sheet and index in self._shown:
                shown.append((index, Shown(f"{name}/{pair.picture.stem}", picture, truth, prediction)))
        by_index = dict(sorted(team.gather(measured), key=lambda entry: entry[0]))
        if len(by_index) < len(self.pairs):
            return None
        scores = {
            name: summarise(by_index[index] for index, (at, _) in enumerate(self.pairs) if at == name)
            for name in dict.fromkeys(name for name, _ in self.pairs)
        }
        # A set may itself be called "all"; then its own line is the one of everything only if it is alone.
        scores[ALL] = summarise(by_index.values())
        return Judgement(scores, [row for _, row in sorted(team.gather(shown), key=lambda entry: entry[0])])

    @torch.no_grad()
    def _predict(self, network: nn.Module, picture: npt.NDArray[np.uint8], team: Team) -> Grey:
        batch, frame = prepare(picture, self.spec)
        # A GPU is many times faster in half precision; on the CPU the figures stay those of float32.
        fast = team.device.type == "cuda" and team.accelerator.mixed_precision != "no"
        with torch.autocast(team.device.type, torch.bfloat16, enabled=fast):
            logits = network(torch.from_numpy(batch).to(team.device)).logits
        return to_mask(finish(logits.float().cpu().numpy(), frame))


def read_truth(pair: Pair, shape: tuple[int, ...]) -> Grey:
    """The mask of a pair, (H, W) uint8.

    Raises:
        DataError: if it is no mask, or its size is not `shape`, the picture's.
    """
    truth = read_mask(pair.mask)
    if truth.shape != shape:
        raise DataError(
            f"The mask `{pair.mask}` is {truth.shape[1]}x{truth.shape[0]}, its picture {shape[1]}x{shape[0]}; "
            "`birefnet data check` lists all such pairs"
        )
    return truth


def spread(items: list[T], count: int) -> list[T]:
    """`count` of the items, evenly spread; all if there are not more."""
    if count >= len(items):
        return items
    return [items[index * len(items) // count] for index in range(count)]
