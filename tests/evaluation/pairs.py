"""Pairs for the tests of metrics: the published ones with their figures, and random ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from birefnet.evaluation.pair import Grey, Pair

FOLDER = Path(__file__).parents[1] / "golden" / "metrics"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
NAMES = tuple(EXPECTED["per_image"])


def published(name: str) -> tuple[Grey, Grey]:
    """A prediction and its truth for which the reference's figures are known."""
    prediction, truth = (Image.open(FOLDER / kind / f"{name}.webp").convert("L") for kind in ("pred", "gt"))
    return np.asarray(prediction), np.asarray(truth)


def blobs(random: np.random.Generator, height: int, width: int, softness: float) -> Grey:
    """A soft picture of round parts and thin ones, 0 to 255."""
    noise = Image.fromarray(random.integers(0, 256, (height, width), np.uint8))
    smooth = np.asarray(noise.filter(ImageFilter.GaussianBlur(softness)), np.float64)
    scaled = (smooth - smooth.mean()) * random.uniform(8, 40) + random.uniform(60, 190)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def random_pairs(number: int, *, soft: bool = True, largest: int = 90, seed: int = 0) -> Iterator[Pair]:
    """Pairs of many shapes, with both foreground and background; binary predictions unless `soft`."""
    random = np.random.default_rng(seed)
    while number:
        height, width = random.integers(8, largest, 2)
        shape = blobs(random, height, width, random.uniform(0.5, 6))
        truth = np.where(shape > 128, 255, 0).astype(np.uint8)
        moved = np.roll(shape, random.integers(-3, 4, 2), (0, 1)).astype(np.int64)
        prediction = np.clip(moved + random.normal(0, 40, shape.shape), 0, 255).astype(np.uint8)
        if not soft:
            prediction = np.where(prediction > 128, 255, 0).astype(np.uint8)
        if 0 < np.count_nonzero(truth) < truth.size and prediction.min() < prediction.max():
            number -= 1
            yield Pair(prediction, truth)


def odd_pairs() -> Iterator[tuple[str, Pair]]:
    """(name, pair) of what must neither crash nor give numbers that are not numbers."""
    random = np.random.default_rng(3)
    for height, width in ((1, 1), (1, 2), (1, 9), (9, 1), (2, 2), (3, 5), (40, 64), (40, 65)):
        noise = random.integers(0, 256, (height, width), np.uint8)
        for truth_name, truth in (("empty", noise * 0), ("full", noise * 0 + 255), ("noise", noise)):
            for prediction_name, prediction in (
                ("black", noise * 0),
                ("white", noise * 0 + 255),
                ("grey", noise * 0 + 77),
                ("dim", noise // 3 + 20),
                ("noise", noise[::-1, ::-1]),
            ):
                yield f"{height}x{width} {prediction_name} for {truth_name}", Pair(prediction, truth)
