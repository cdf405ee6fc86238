"""A rendered picture to measure with where none is named: a subject, an edge, a ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 1024


def rendered(side: int = SIDE) -> NDArray[np.uint8]:
    """A bright, textured ellipse before a quieter ground, with grain, (side, side, 3) uint8; always the same."""
    from PIL import Image

    random = np.random.default_rng(0)
    ground, subject = (
        Image.fromarray(random.integers(low, high, (cells, cells, 3), np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        for low, high, cells in ((20, 110, 9), (120, 256, 60))
    )
    y, x = np.ogrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    inside = np.clip((1 - np.hypot(y / 0.7, x / 0.55)) * side / 20 + 0.5, 0, 1)
    mixed = np.array(Image.composite(subject, ground, Image.fromarray((inside * 255).astype(np.uint8))), np.float32)
    grain = random.normal(0, 4, (side, side, 1)).astype(np.float32)
    out: NDArray[np.uint8] = np.clip(mixed + grain, 0, 255).astype(np.uint8)
    return out
