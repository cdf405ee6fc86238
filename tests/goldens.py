"""The frozen references of the network: lists of names and shapes, and logits that the reference computed."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.rounding import Spread, spread
from tests.seeded import image, state_dict

if TYPE_CHECKING:
    from birefnet.network import BiRefNet

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


def logits(name: str) -> NDArray[np.float64]:
    """The logits of a case that the reference computes in float64, every `step`-th row and column of them."""
    values: NDArray[np.float64] = np.load(FOLDER / "network" / f"{name}.npz")["logits"]
    return values


def network(name: str) -> BiRefNet:
    """A case's network in float32, in evaluation mode."""
    from birefnet.weights.checkpoint import load_model

    golden = case(name)
    two_scale = "add" if golden["overrides"].get("mul_scl_ipt") == "add" else None
    return load_model(state_dict(golden["shapes"]), two_scale=two_scale)


def picture(name: str) -> Tensor:
    """A case's input, (B, 3, H, W) float32."""
    golden = case(name)
    return torch.from_numpy(image(*golden["size"], batch=golden["batch"], seed=golden["seed"]))


@functools.cache
def exact(name: str) -> Spread:
    """A case's logits as our network computes them in float64, and how far rounding to float32 moves them."""
    return spread(network(name), picture(name), lambda output: [output.logits])


def _read(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))
