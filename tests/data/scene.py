"""A tiny made-up library: the same files, bit for bit, wherever it is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from birefnet.data.dataset import DataConfig, Source


def make_library(root: Path) -> DataConfig:
    """Write pairs of several sizes and kinds, two cut-outs and two backgrounds below `root`; a mixture of them."""
    for index in range(5):
        picture, mask = _pair(index)
        _save(root / "pairs" / "im" / f"{index}.png", picture)
        # Masks at half the size exist in the wild; they are brought to the picture's.
        _save(root / "pairs" / "gt" / f"{index}.png", mask[::2, ::2] if index == 3 else mask)
        if index < 2:
            _save(root / "rough" / "im" / f"{index}.bmp", picture[::-1])
            _save(root / "rough" / "gt" / f"{index}.png", mask[::-1])
            _save(root / "cut" / f"{index}.png", np.dstack([picture, mask]))
            _save(root / "back" / f"{index}.png", _noise(90 + index, 70 + 40 * index, 90))
    return DataConfig(
        root=str(root),
        pairs=(Source(folder="pairs", weight=2.0, cut=True), Source(folder="rough", weight=0.5, only=("0",))),
        cutouts=(Source(folder="cut"),),
        backgrounds=(Source(folder="back"),),
        composite=0.5,
        drawn=0.2,
        empty=0.06,
        zoom=0.6,
        longest=80,
    )


def _pair(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A soft-edged ellipse, (H, W, 3) and (H, W)."""
    height, width = ((60, 80), (96, 64), (70, 70), (120, 100), (48, 64))[index]
    y, x = np.mgrid[0:height, 0:width]
    # Integers only: the same on every machine.
    distance = (y - height // 2) ** 2 * 3 + (x - width // 3 - 3 * index) ** 2
    mask = np.clip(255 - (distance - height * 6) // 2, 0, 255).astype(np.uint8)
    picture = _noise(index, height, width) // 2 + (mask // 3)[..., None]
    return picture.astype(np.uint8), mask


def _noise(seed: int, height: int, width: int) -> np.ndarray:
    """Blocks of random colours, (H, W, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array)).save(path)
