"""The one reader of masks: what it reads, what it finds odd, and which use refuses what."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from birefnet.data.findings import KINDS
from birefnet.data.masks import REFUSED, WANTED, MaskError, read_mask
from birefnet.errors import BiRefNetError, DataError
from tests.evaluation.drawn import disc

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)
HARD = (disc() > 128).astype(np.uint8)


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def turned(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    return exif


def kinds(path: Path) -> list[str]:
    return [oddity.kind for oddity in read_mask(path).oddities]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_in_any_dress_is_grey(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    Image.fromarray(disc()).convert(mode).save(path)
    np.testing.assert_array_equal(read_mask(path).array, disc())
    assert not kinds(path)


def test_soft_masks_stay_soft_and_an_index_is_not_a_value(tmp_path: Path) -> None:
    wide = save(tmp_path / "wide.png", RAMP.astype(np.uint16) * 257)
    palette = tmp_path / "palette.png"
    indexed = Image.fromarray(RAMP, "P")
    indexed.putpalette([255 - v for v in range(256) for _ in range(3)])
    indexed.save(palette)
    np.testing.assert_array_equal(read_mask(wide).array, RAMP)
    np.testing.assert_array_equal(read_mask(palette).array, 255 - RAMP)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bits{suffix}"
    Image.fromarray(RAMP > 99).save(path)
    np.testing.assert_array_equal(read_mask(path).array, 255 * (RAMP > 99))


@pytest.mark.parametrize("bits", ["1", "L"])
def test_white_is_zero_is_turned_round(tmp_path: Path, bits: str) -> None:
    path = tmp_path / "white_is_zero.tif"
    Image.fromarray(255 - RAMP).convert(bits, dither=Image.Dither.NONE).save(path, tiffinfo={262: 0})
    shown = np.asarray(Image.open(path).convert("L"))
    np.testing.assert_array_equal(read_mask(path).array, shown)


def test_the_profile_of_a_mask_is_not_applied(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB", 5000)).tobytes()
    path = save(tmp_path / "profiled.png", RAMP, icc_profile=profile)
    np.testing.assert_array_equal(read_mask(path).array, RAMP)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "deep"), [(".png", False), (".jpg", False), (".tif", False), (".png", True), (".tif", True)]
)
def test_masks_are_upright(tmp_path: Path, turn: int, suffix: str, deep: bool) -> None:
    path, array = tmp_path / f"turned{suffix}", RAMP.astype(np.uint16) * 257 if deep else RAMP
    save(path, array, exif=turned(turn), quality=100)
    from birefnet.data.reading import read_header
    from birefnet.pixels.picture import read_picture

    shown = read_picture(path).rgb
    found = read_mask(path)
    np.testing.assert_allclose(found.array, shown[..., 0], atol=2 if suffix == ".jpg" else 0)
    assert read_header(path).size == (found.array.shape[1], found.array.shape[0])
    assert ("turned-mask" in kinds(path)) == (turn != 1)


def _tinted(amount: int) -> np.ndarray:
    soft = np.minimum(disc(), 200)
    return np.dstack([soft, soft, soft + np.uint8(amount)])


def _palette_of_colours(path: Path) -> None:
    image = Image.fromarray(HARD, "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(path)


def _ring() -> np.ndarray:
    """0 outside, 1 inside, 255 along the edge, as sets of classes have it."""
    out = HARD.copy()
    out[(disc(radius=0.36) > 128) & (HARD == 0)] = 255
    return out


ODD: dict[str, tuple[str, Callable[[Path], object]]] = {
    "16 bits": ("deep-mask", lambda p: save(p, disc().astype(np.uint16) * 257)),
    "tint": ("tinted-mask", lambda p: save(p, _tinted(8))),
    "colour": ("colour-mask", lambda p: save(p, _tinted(40))),
    "palette": ("colour-mask", _palette_of_colours),
    "cut-out": ("transparent-mask", lambda p: save(p, np.dstack([disc()] * 4))),
    "transparent grey": ("transparent-mask", lambda p: save(p, disc(), transparency=0)),
    "0 and 1": ("dim-mask", lambda p: save(p, HARD)),
    "classes": ("dim-mask", lambda p: save(p, HARD * np.uint8(15))),
    "ignore": ("class-mask", lambda p: save(p, _ring())),
    "ignore, class 15": ("class-mask", lambda p: save(p, np.where(_ring() == 1, np.uint8(15), _ring()))),
    "trimap": ("trimap", lambda p: save(p, np.where(_ring() == 1, np.uint8(128), _ring()))),
    "0 and 1 in colour": ("dim-mask", lambda p: save(p, np.dstack([HARD] * 3))),
    "turned": ("turned-mask", lambda p: save(p, disc(), exif=turned(6))),
}


@pytest.mark.parametrize("name", ODD)
def test_each_oddity_is_seen_and_nothing_else(tmp_path: Path, name: str) -> None:
    kind, write = ODD[name]
    write(tmp_path / "mask.png")
    assert kinds(tmp_path / "mask.png") == [kind]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (HARD.astype(np.uint16), "holds 0 and 1"),
        (HARD.astype(np.uint16) * 255, "is never brighter than 255 of 65535"),
        (_ring().astype(np.uint16), "is never brighter than 255 of 65535"),
    ],
)
def test_sixteen_bits_with_the_values_of_fewer_are_not_empty(tmp_path: Path, array: np.ndarray, text: str) -> None:
    found = read_mask(save(tmp_path / "mask.png", array))
    assert [oddity.kind for oddity in found.oddities] == ["deep-mask", "dim-mask"]
    with pytest.raises(DataError, match=text):
        found.accepted("training")


def test_classes_and_ignore_in_sixteen_bits(tmp_path: Path) -> None:
    ring = np.where(_ring() == 255, np.uint16(65535), _ring().astype(np.uint16))
    assert kinds(save(tmp_path / "mask.png", ring)) == ["deep-mask", "class-mask"]


@pytest.mark.parametrize(
    "array",
    [
        disc(),
        HARD * np.uint8(255),
        np.maximum(HARD * np.uint8(255), 2),  # black that is not quite
        disc() * np.uint8(0),
        disc() // 2 + 127,
        np.where(disc() > 250, np.uint8(255), np.where(disc() > 0, np.uint8(128), np.uint8(0))),  # one grey pixel wide
    ],
)
def test_plain_masks_are_not_odd(tmp_path: Path, array: np.ndarray) -> None:
    assert not kinds(save(tmp_path / "mask.png", array))
    assert not kinds(save(tmp_path / "mask.jpg", array, quality=90))
    assert np.abs(read_mask(tmp_path / "mask.jpg").array.astype(int) - array).mean() < 2


def test_a_jpeg_in_colour_that_holds_grey_is_grey(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.jpg", np.dstack([disc()] * 3), quality=95)
    assert not kinds(path) and np.abs(read_mask(path).array.astype(int) - disc()).mean() < 1


def test_who_refuses_what() -> None:
    no_alpha = {"colour-mask", "transparent-mask", "dim-mask", "class-mask"}
    assert REFUSED["training"] == REFUSED["calibration"] == no_alpha
    assert REFUSED["truth"] == no_alpha | {"deep-mask", "tinted-mask"}
    assert REFUSED["prediction"] == REFUSED["truth"] - {"dim-mask"}
    assert set(WANTED) <= set(KINDS)  # what a reader notes, the check of a folder can show
    assert all(KINDS[kind].one for kinds in REFUSED.values() for kind in kinds)  # and a judge can list


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("use", REFUSED)
def test_what_is_refused_is_said_in_a_sentence_that_travels(tmp_path: Path, name: str, use: str) -> None:
    kind, write = ODD[name]
    path = tmp_path / "odd.png"
    write(path)
    found = read_mask(path)
    if kind not in REFUSED[use]:  # type: ignore[index]
        assert found.accepted(use) is found.array  # type: ignore[arg-type]
        return
    with pytest.raises(MaskError, match=r"`.*odd\.png` (is|has|holds) .*; ") as caught:
        found.accepted(use)  # type: ignore[arg-type]
    assert isinstance(caught.value, BiRefNetError)
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes from a worker
    assert (str(again), again.path, again.kind) == (str(caught.value), path, kind)


def cut_short(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8))
    path.write_bytes(path.read_bytes()[:600])


@pytest.mark.parametrize(
    "write",
    [cut_short, lambda path: path.write_text("no picture"), lambda path: path.write_bytes(b""), Path.mkdir, id],
)
def test_what_cannot_be_read_is_said_with_its_name(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask\.png"):
        read_mask(tmp_path / "mask.png")
