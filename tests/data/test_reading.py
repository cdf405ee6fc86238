from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet.data.reading import read_header, read_rgb, read_rgba, sizes_fit
from birefnet.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


def _save(path: Path, array: np.ndarray, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_damaged_files_are_named_with_the_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    whole = _save(tmp_path / "whole.png", noise).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for read in (read_rgb, read_rgba):
        for name in ("cut.png", "text.png", "absent.png"):
            with pytest.raises(DataError, match=name):
                read(tmp_path / name)
    with pytest.raises(DataError, match=r"text\.png"):
        read_header(tmp_path / "text.png")


def test_pictures_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    for name in ("turned.png", "turned.tif", "turned.jpg", "turned.webp"):
        path = tmp_path / name
        Image.fromarray(RAMP).save(path, exif=exif)
        assert (read_header(path).size, read_header(path).turn) == ((8, 32), 6)
        assert read_rgb(path).shape == (32, 8, 3)


def test_sizes_fit_by_aspect() -> None:
    assert sizes_fit((640, 480), (640, 480)) and sizes_fit((641, 480), (320, 240))
    assert not sizes_fit((640, 480), (480, 640)) and not sizes_fit((640, 480), (640, 440))
