"""What every test of a backbone needs: the frozen names of the published weights, and a seed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

MANIFESTS = Path(__file__).parents[2] / "golden" / "manifests"
Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def published() -> Callable[[str], Shapes]:
    """Function from a backbone's name to the names and shapes of its published entries, as the backbone has them."""

    def read(name: str) -> Shapes:
        text = gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes())
        inner = "bb.model." if name.startswith("dino") else "bb."
        return {
            key.removeprefix(inner): tuple(shape) for key, shape in json.loads(text).items() if key.startswith(inner)
        }

    return read
