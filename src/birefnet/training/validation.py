"""Judging a network on pairs at their original size, while it trains; several processes share the pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from birefnet.data.library import read_pair
from birefnet.data.pairs import Pair, find_all_pairs, set_folders
from birefnet.errors import ConfigError, DataError
from birefnet.evaluation.measure import METRICS, Measurement, Summary, check_metrics, measure, summarise
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec
from birefnet.remover import Remover
from birefnet.runtimes.base import Batch, Logits, check_batch, check_logits, fits
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


class NetworkRuntime:
    """A network that is in memory, as a `birefnet.runtimes.base.Runtime`: what a `Remover` runs.

    Args:
        network: in evaluation mode; it takes any size of multiples of 32.
        spec: the input it is made for.
        device: where it is.
        dtype: what it computes in by autocast; None for the type of its weights.
    """

    def __init__(
        self, network: nn.Module, spec: InputSpec, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.network, self.spec, self.dtype = network, spec, dtype
        self.name, self.device, self.dynamic = "the network in training", str(device), True

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Logits:
        """(B, 3, h, w) float32 normalised -> (B, 1, h, w) float32 logits."""
        check_batch(batch, self.spec, dynamic=True)
        with fits(self, batch):
            pictures = torch.from_numpy(batch).to(self.device)
            logits = self._run(pictures, self.dtype)
            if self.dtype is not None and not bool(torch.isfinite(logits).all()):  # too large for float16
                logits = self._run(pictures, None)
            return check_logits(logits.float().cpu().numpy(), batch, self.name)

    def _run(self, pictures: Tensor, dtype: torch.dtype | None) -> Tensor:
        with torch.autocast(pictures.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            logits: Tensor = self.network(pictures).logits
        return logits


class Validation:
    """The pictures and metrics of a recipe's validation, found and read once: what is wrong is told before a run.

    Args:
        config: which pictures, and what is measured.
        best: the metric that says which weights are the best.
        spec: the input of the network that is judged, and how its alpha is enlarged.

    Raises:
        ConfigError: if a metric is unknown, or `best` is not among those measured.
        DataError: if a set is missing or empty, pictures and masks do not match, or one cannot be used; it lists all.
    """

    def __init__(self, config: ValidationConfig, best: str, spec: InputSpec) -> None:
        check_metrics(config.metrics)
        if best not in config.metrics:
            raise ConfigError(
                f"`checkpoints.best` is {best}, which is not among `validation.metrics` "
                f"({', '.join(config.metrics)}); add it there or choose one of them"
            )
        self.config, self.best, self.spec = config, best, spec
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
        check_pairs([pair for _, pair in self.pairs])
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
        remover = Remover.from_runtime(NetworkRuntime(network, self.spec, team.device, autocast_type(team)))
        measured: list[tuple[int, Measurement]] = []
        shown: list[tuple[int, Shown]] = []
        for index in range(team.rank, len(self.pairs), team.count):
            if leave():
                break
            name, pair = self.pairs[index]
            picture = read_picture(pair.picture)
            prediction = remover.cut(picture).mask
            truth = read_truth(pair)
            measured.append((index, measure(prediction, truth, self.config.metrics)))
            if sheet and index in self._shown:
                shown.append((index, Shown(f"{name}/{pair.picture.stem}", picture.rgb, truth, prediction)))
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


def autocast_type(team: Team) -> torch.dtype | None:
    """What a team validates in: on a GPU, which is many times faster so, the half precision that it trains in.

    None is float32: where it trains in that, and on the CPU, whose figures stay those of float32.
    """
    if team.device.type != "cuda":
        return None
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(str(team.accelerator.mixed_precision))


def read_truth(pair: Pair) -> Grey:
    """The mask of a pair at its picture's size, (H, W) uint8, read as training reads it.

    Raises:
        DataError: if picture or mask cannot be read, the mask is no mask, or their sizes do not fit.
    """
    return read_pair(pair, None)[1]


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Read all pairs, on all cores.

    Raises:
        DataError: if some cannot be used; it lists them.
    """

    def problem(pair: Pair) -> str | None:
        try:
            read_truth(pair)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(32, os.cpu_count() or 1), thread_name_prefix="read") as pool:
        problems = [text for text in pool.map(problem, pairs) if text is not None]
    if problems:
        raise DataError("Of the pictures to validate on:\n  " + "\n  ".join(problems))


def spread(items: list[T], count: int) -> list[T]:
    """`count` of the items, evenly spread; all if there are not more."""
    if count >= len(items):
        return items
    return [items[index * len(items) // count] for index in range(count)]
