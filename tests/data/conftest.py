from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.data.dataset import DataConfig, Source


@pytest.fixture
def folders(tmp_path: Path) -> DataConfig:
    """A tiny mixture: discs as pairs, one cut-out, one background."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:48, 0:64]
    for i in range(3):
        disc = ((y - 24) ** 2 + (x - 24 - 4 * i) ** 2 < 150).astype(np.uint8) * 255
        picture = rng.integers(0, 80, (48, 64, 3)).astype(np.uint8) + (disc // 2)[..., None]
        for kind, array in (("im", picture), ("gt", disc)):
            (tmp_path / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "pairs" / kind / f"{i}.png")
        if i == 0:
            (tmp_path / "cut").mkdir()
            Image.fromarray(np.dstack([picture, disc])).save(tmp_path / "cut" / "disc.webp", lossless=True)
            (tmp_path / "back").mkdir()
            Image.fromarray(rng.integers(0, 255, (80, 80, 3)).astype(np.uint8)).save(tmp_path / "back" / "noise.png")
    return DataConfig(
        root=str(tmp_path),
        pairs=(Source(folder="pairs", cut=True),),
        cutouts=(Source(folder="cut"),),
        backgrounds=(Source(folder="back"),),
        composite=0.5,
        drawn=0.2,
        empty=0.05,
    )
