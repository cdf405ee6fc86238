"""Judging a network on pairs at their original size, while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from birefnet.data.pairs import Pair, find_pairs
from birefnet.pixels.alpha import finish
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import InputSpec, prepare
from birefnet.training.config import ValidationConfig


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over pictures: intersection over union at threshold 0.5, and absolute error, both in [0, 1]."""

    iou: float
    mae: float
    count: int


def score(alpha: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]) -> tuple[float, float]:
    """IoU at threshold 0.5 and mean absolute error of one alpha, both arrays (H, W) in [0, 1]."""
    a, b = alpha > 0.5, truth > 0.5
    union = int((a | b).sum())
    return (int((a & b).sum()) / union if union else 1.0), float(np.abs(alpha - truth).mean())


def validate(network: nn.Module, config: ValidationConfig, device: torch.device) -> dict[str, Scores]:
    """Scores per set and, under "all", over all pictures alike.

    The network is used in eval mode and put back as it was.
    """
    training = network.training
    network.eval()
    found = {name: find_pairs(Path(config.root) / name) for name in config.sets}
    spec = InputSpec(width=config.size, height=config.size)
    results = {name: [_judge(network, pair, spec, device) for pair in pairs] for name, pairs in found.items()}
    network.train(training)
    return summarise(results)


def summarise(results: Mapping[str, Iterable[tuple[float, float]]]) -> dict[str, Scores]:
    """Means per set and over all pictures together."""
    lists = {name: list(values) for name, values in results.items()}
    lists["all"] = [pair for values in lists.values() for pair in values]
    return {
        name: Scores(float(np.mean([v[0] for v in values])), float(np.mean([v[1] for v in values])), len(values))
        for name, values in lists.items()
    }


@torch.no_grad()
def _judge(network: nn.Module, pair: Pair, spec: InputSpec, device: torch.device) -> tuple[float, float]:
    batch, frame = prepare(read_picture(pair.picture).rgb, spec)
    logits = network(torch.from_numpy(batch).to(device)).logits.float().cpu().numpy()
    with Image.open(pair.mask) as mask:
        truth = np.asarray(mask.convert("L"), np.float32) / np.float32(255)
    return score(finish(logits, frame), truth)
