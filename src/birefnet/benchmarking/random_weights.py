"""Networks with random weights, the same on every machine: anyone can measure any backbone, offline."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from birefnet.network import BiRefNet


def random_network(backbone: str) -> BiRefNet:
    """A released model's shape with another backbone; every value depends only on its name and shape.

    The values keep signals in range and move the deformable convolutions' offsets, so that times are those of trained
    weights.

    Raises:
        ConfigError: if there is no such backbone.
        MissingExtra: without PyTorch.
    """
    from birefnet.errors import require

    require("torch", "torch")
    import torch

    from birefnet.network import BiRefNet, BiRefNetConfig

    network = BiRefNet(BiRefNetConfig(backbone=backbone)).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(_value(name, tuple(tensor.shape))))
    return network


def _value(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    noise = random.standard_normal(shape, dtype=np.float32)
    leaf = name.rpartition(".")[2]
    if leaf == "running_var":
        return np.float32(1) + np.float32(0.2) * np.abs(noise)
    if leaf == "weight" and len(shape) == 1:  # the scale of a norm
        return np.float32(1) + np.float32(0.1) * noise
    if len(shape) > 1 and leaf == "weight":
        return noise * np.float32(1.5 / np.sqrt(np.prod(shape[1:])))
    return np.float32(0.1) * noise
