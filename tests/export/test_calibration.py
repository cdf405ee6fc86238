"""Calibration pictures are found, spread over what there is, and prepared as the network gets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import DataError
from birefnet.export.calibration import calibration_pictures, find_calibration
from birefnet.pixels.prepare import InputSpec, prepare

SPEC = InputSpec(width=64, height=32, mean=(0.5,) * 3, std=(0.25,) * 3)


def draw(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)).save(path)


def test_pictures_of_a_folder_and_below_evenly_spread(tmp_path: Path) -> None:
    for index in range(10):
        draw(tmp_path / f"{'below/' * (index % 2)}{index}.png")
    draw(tmp_path / ".hidden" / "no.png")
    (tmp_path / "words.txt").write_text("no picture")
    assert len(find_calibration(tmp_path)) == 10
    names = [path.stem for path in find_calibration(tmp_path, most=3)]
    assert len(set(names)) == 3 and names[0] == "0" and names[-1] == "9"


def test_masks_of_sets_are_no_pictures(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        draw(tmp_path / folder / "im" / "a.jpg")
        draw(tmp_path / folder / "gt" / "a.png")
    assert [path.parent.name for path in find_calibration(tmp_path)] == ["im", "im"]


def test_nothing_to_find_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        find_calibration(tmp_path / "none")
    with pytest.raises(DataError, match="No pictures"):
        find_calibration(tmp_path)


def test_prepared_as_for_the_network(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (picture,) = calibration_pictures(find_calibration(tmp_path), SPEC)
    with Image.open(tmp_path / "a.png") as image:
        wanted, _ = prepare(np.asarray(image), SPEC)
    np.testing.assert_array_equal(picture, wanted)


def test_colours_hidden_under_transparency_are_not_shown(tmp_path: Path) -> None:
    """As a `Remover` shows it: the hidden colours would widen ranges that no picture needs."""
    shown = []
    for name, hidden in (("a", 0), ("b", 255)):
        values = np.full((40, 50, 4), hidden, np.uint8)
        values[..., 3] = 0
        values[10:20, 10:20] = (200, 100, 50, 255)
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        shown += calibration_pictures([tmp_path / f"{name}.png"], SPEC)
    assert np.array_equal(*shown)
