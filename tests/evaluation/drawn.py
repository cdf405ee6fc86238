"""Small test sets drawn for the tests: soft discs and predictions that are nearly right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 60, 40


def disc(x: float = 0.4, radius: float = 0.3, *, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """(height, width) a white disc with a soft edge; `x` and `radius` in parts of width and height."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(columns - x * width, rows - height / 2)
    return np.clip(255 * (radius * height - distance + 0.5), 0, 255).astype(np.uint8)


def draw_set(
    root: Path, name: str = "set", count: int = 3, *, shift: float = 0.03, grain: int = 30
) -> tuple[Path, Path]:
    """Write root/NAME/{im,gt} and predictions beside them.

    Returns:
        The folder of predictions and that of the set.
    """
    random = np.random.default_rng(count)
    folders = [root / name / "im", root / name / "gt", root / "predictions" / name]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        x = 0.3 + 0.4 * number / max(1, count - 1)
        noise = random.integers(0, grain + 1, (HEIGHT, WIDTH))
        guess = np.clip(disc(x + shift * (1 + number)).astype(int) * 0.9 + noise, 0, 255).astype(np.uint8)
        stem = f"{number:02d}"
        Image.fromarray(np.stack([disc(x)] * 3, axis=-1)).save(folders[0] / f"{stem}.jpg")
        Image.fromarray(disc(x)).save(folders[1] / f"{stem}.png")
        Image.fromarray(guess).save(folders[2] / f"{stem}.png")
    return folders[2], root / name
