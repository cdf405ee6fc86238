"""The frozen references of the network: lists of names and shapes, and logits that the reference computed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "golden"
MANIFESTS = tuple(sorted(path.name.removesuffix(".json.gz") for path in (FOLDER / "manifests").glob("*.json.gz")))
CASES = tuple(sorted(path.name.removesuffix(".json.gz") for path in (FOLDER / "network").glob("*.json.gz")))


def manifest(backbone: str) -> dict[str, list[int]]:
    """Name -> shape of every entry of the released variant on `backbone`."""
    return _read(FOLDER / "manifests" / f"{backbone}.json.gz")


def case(name: str) -> dict[str, Any]:
    """One golden case: backbone, size (H, W), batch, seed, overrides (the reference's options), step and shapes."""
    record = _read(FOLDER / "network" / f"{name}.json.gz")
    if "manifest" in record:
        record["shapes"] = manifest(record["manifest"])
    return record


def logits(name: str) -> NDArray[np.float32]:
    """The reference's logits of a case, every `step`-th row and column of them."""
    values: NDArray[np.float32] = np.load(FOLDER / "network" / f"{name}.npz")["logits"]
    return values


def _read(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))
