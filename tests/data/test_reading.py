from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from birefnet.data.reading import read_header, read_mask, read_rgb, read_rgba, sizes_fit
from birefnet.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


def _save(path: Path, array: np.ndarray, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_soft_masks_stay_soft_in_every_mode_that_can_hold_them(tmp_path: Path) -> None:
    grey = _save(tmp_path / "grey.png", RAMP)
    three = _save(tmp_path / "three.png", np.dstack([RAMP] * 3))
    opaque = _save(tmp_path / "opaque.png", np.dstack([RAMP] * 3 + [np.full_like(RAMP, 255)]))
    wide = _save(tmp_path / "wide.png", RAMP.astype(np.uint16) * 257)
    palette = tmp_path / "palette.png"
    indexed = Image.fromarray(RAMP, "P")
    indexed.putpalette([255 - v for v in range(256) for _ in range(3)])  # an index is not a value
    indexed.save(palette)
    for path in (grey, three, opaque, wide):
        np.testing.assert_array_equal(read_mask(path), RAMP)
    np.testing.assert_array_equal(read_mask(palette), 255 - RAMP)


def test_a_mask_of_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = tmp_path / "bits.png"
    Image.fromarray(RAMP > 99).save(path)
    assert set(np.unique(read_mask(path))) == {0, 255}


def test_the_profile_of_a_mask_is_not_applied(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000)).tobytes()
    path = _save(tmp_path / "profiled.png", RAMP, icc_profile=profile)
    np.testing.assert_array_equal(read_mask(path), RAMP)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.dstack([RAMP, RAMP * 0, RAMP * 0]), "a mask in colour"),
        (np.dstack([RAMP * 0 + 255] * 3 + [RAMP]), "with transparency"),
        ((RAMP > 99).astype(np.uint8), "holds 0 and 1"),
        (RAMP // 16, "never brighter than 15"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_name(tmp_path: Path, array: np.ndarray, text: str) -> None:
    path = _save(tmp_path / "odd.png", array)
    with pytest.raises(DataError, match=text) as caught:
        read_mask(path)
    assert "odd.png" in str(caught.value)


def test_a_palette_of_colours_is_a_mask_in_colour(tmp_path: Path) -> None:
    image = Image.fromarray((RAMP > 99).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    image.save(tmp_path / "voc.png")
    with pytest.raises(DataError, match="a mask in colour"):
        read_mask(tmp_path / "voc.png")


def test_empty_masks_and_grey_jpegs_with_a_tint_are_masks(tmp_path: Path) -> None:
    assert read_mask(_save(tmp_path / "empty.png", RAMP * 0)).max() == 0
    soft = np.asarray(Image.fromarray(RAMP).resize((64, 64)))
    path = _save(tmp_path / "saved.jpg", np.dstack([soft, soft, np.minimum(soft, 250) + 3]), quality=90)
    assert read_mask(path).shape == (64, 64)


def test_damaged_files_are_named_with_the_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    whole = _save(tmp_path / "whole.png", noise).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for read in (read_mask, read_rgb, read_rgba):
        for name in ("cut.png", "text.png", "absent.png"):
            with pytest.raises(DataError, match=name):
                read(tmp_path / name)
    with pytest.raises(DataError, match=r"text\.png"):
        read_header(tmp_path / "text.png")


def test_pictures_and_masks_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    path = tmp_path / "turned.png"
    Image.fromarray(RAMP).save(path, exif=exif)
    assert read_header(path).size == (8, 32)
    assert read_rgb(path).shape == (32, 8, 3)
    np.testing.assert_array_equal(read_mask(path), np.rot90(RAMP, -1))


def test_sizes_fit_by_aspect() -> None:
    assert sizes_fit((640, 480), (640, 480)) and sizes_fit((641, 480), (320, 240))
    assert not sizes_fit((640, 480), (480, 640)) and not sizes_fit((640, 480), (640, 440))
