"""Masks are read as they are, or refused with the reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from birefnet.evaluation.masks import MaskError, mask_size, picture_size, read_mask, read_pair
from tests.evaluation.drawn import HEIGHT, WIDTH, disc


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_in_any_dress_is_grey(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    Image.fromarray(disc()).convert(mode).save(path)
    np.testing.assert_array_equal(read_mask(path), disc())
    assert mask_size(path) == (WIDTH, HEIGHT)


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(disc() > 128).save(tmp_path / "mask.png")
    assert Image.open(tmp_path / "mask.png").mode == "1"
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), 255 * (disc() > 128))


def test_a_jpeg_in_colour_that_holds_grey_is_grey(tmp_path: Path) -> None:
    Image.fromarray(np.stack([disc()] * 3, axis=-1)).save(tmp_path / "mask.jpg", quality=95)
    assert np.abs(read_mask(tmp_path / "mask.jpg").astype(int) - disc()).mean() < 1


def colours(path: Path) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[5, 5] = 255, 0, 0
    Image.fromarray(picture).save(path)


def palette(path: Path) -> None:
    image = Image.fromarray((disc() > 128).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(path)


def cut_out(path: Path) -> None:
    Image.fromarray(np.stack([disc()] * 4, axis=-1)).save(path)


def deep(path: Path) -> None:
    Image.fromarray(disc().astype(np.uint16) * 257).save(path)


def cut_short(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:600])


def text(path: Path) -> None:
    path.write_text("no picture at all")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (colours, "colour"),
        (palette, "colour"),
        (cut_out, "transparent"),
        (deep, "deep"),
        (cut_short, "unreadable"),
        (text, "unreadable"),
        (nothing, "unreadable"),
        (lambda path: path.mkdir(), "unreadable"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, write: object, kind: str) -> None:
    path = tmp_path / "mask.png"
    write(path)  # type: ignore[operator]
    with pytest.raises(MaskError) as caught:
        read_mask(path)
    assert caught.value.kind == kind
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes from a worker
    assert (again.path, again.kind, again.detail) == (path, kind, caught.value.detail)


def test_a_truth_of_zeros_and_ones_is_refused_and_a_faint_prediction_is_not(tmp_path: Path) -> None:
    ones, faint = tmp_path / "ones.png", tmp_path / "faint.png"
    for path in (ones, faint):
        Image.fromarray((disc() > 128).astype(np.uint8)).save(path)
    pair, problems = read_pair(faint, ones)
    assert pair is None and [(one.kind, one.path) for one in problems] == [("ones", ones)]
    Image.fromarray(disc()).save(ones)
    pair, problems = read_pair(faint, ones)
    assert pair is not None and not problems and pair[0].max() == 1


def test_the_size_of_a_photo_is_that_of_the_upright_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "photo.jpg", exif=exif)
    assert picture_size(tmp_path / "photo.jpg") == (20, 30)
