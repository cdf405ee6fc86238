"""Composing is exact where the alpha is 0 or 1, and right between."""

from __future__ import annotations

import numpy as np
import pytest

from birefnet.errors import ConfigError, InputError
from birefnet.pixels import strips
from birefnet.pixels.compose import (
    cut_out,
    fit_cover,
    over_blur,
    over_colour,
    over_picture,
    parse_colour,
    to_mask,
)

RANDOM = np.random.default_rng(5)
RGB = RANDOM.integers(0, 256, (60, 80, 3), np.uint8)
ALPHA = RANDOM.random((60, 80), np.float32)
ALPHA[:10], ALPHA[10:20] = 0, 1


@pytest.fixture(autouse=True)
def _short_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_PIXELS", 560)  # 7 rows: the last strip is shorter


def blend(front: np.ndarray, back: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Alpha in 8 bits, everything else exact."""
    a = to_mask(alpha).astype(float)[..., None]
    return np.floor((front * a + back * (255 - a)) / 255 + 0.5).astype(np.uint8)


def test_every_byte_goes_through_the_mask_unchanged() -> None:
    values = np.arange(256, dtype=np.float32)[None] / 255
    assert to_mask(values).tolist() == [list(range(256))]
    assert to_mask(np.array([[0.0, 1.0, 0.5, 0.4999 / 255]], np.float32)).tolist() == [[0, 255, 128, 0]]


def test_cut_out_keeps_colours_and_hides_nothing() -> None:
    out = cut_out(RGB, ALPHA)
    mask = to_mask(ALPHA)
    np.testing.assert_array_equal(out[..., 3], mask)
    np.testing.assert_array_equal(out[mask > 0][:, :3], RGB[mask > 0])
    assert (out[mask == 0] == 0).all()


def test_over_an_opaque_colour_is_exact_and_has_no_alpha() -> None:
    out = over_colour(RGB, ALPHA, (10, 200, 255))
    np.testing.assert_array_equal(out, blend(RGB, np.array([10, 200, 255]), ALPHA))
    assert (out[:10] == (10, 200, 255)).all()
    np.testing.assert_array_equal(out[10:20], RGB[10:20])


def test_all_pairs_of_bytes_divide_rightly() -> None:
    front = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 256, 3)).copy()
    alpha = np.broadcast_to(np.arange(256, dtype=np.float32)[None] / 255, (256, 256)).copy()
    for back in (0, 1, 127, 255):
        out = over_colour(front, alpha, (back, back, back))
        np.testing.assert_array_equal(out, blend(front, np.array([back] * 3), alpha))


def test_over_a_translucent_colour() -> None:
    out = over_colour(RGB, ALPHA, (255, 0, 0, 128))
    assert out.shape == (60, 80, 4)
    assert (out[:10] == (255, 0, 0, 128)).all()
    np.testing.assert_array_equal(out[10:20, :, :3], RGB[10:20])
    assert (out[10:20, :, 3] == 255).all()
    clear = over_colour(RGB, ALPHA, (0, 0, 0, 0))
    np.testing.assert_array_equal(clear[..., 3], to_mask(ALPHA))


def test_over_a_picture_of_the_same_size() -> None:
    back = RANDOM.integers(0, 256, RGB.shape, np.uint8)
    np.testing.assert_array_equal(over_picture(RGB, ALPHA, back), blend(RGB, back, ALPHA))


def test_a_background_covers_and_is_cropped_to_its_middle() -> None:
    wide = np.zeros((50, 300, 3), np.uint8)
    wide[:, 100:200] = 200  # the middle third
    cover = fit_cover(wide, 100, 100)
    assert cover.shape == (100, 100, 3)
    assert (cover == 200).all()
    tall = np.zeros((300, 50, 3), np.uint8)
    tall[100:200] = 90
    assert (fit_cover(tall, 40, 40) == 90).all()
    assert fit_cover(tall, 300, 50) is tall
    assert fit_cover(np.full((1, 1, 3), 7, np.uint8), 20, 5).tolist() == np.full((20, 5, 3), 7).tolist()


def test_blur_keeps_the_subject_and_gives_it_no_glow() -> None:
    rgb = np.full((200, 200, 3), (20, 40, 160), np.uint8)
    alpha = np.zeros((200, 200), np.float32)
    alpha[60:140, 60:140] = 1
    rgb[60:140, 60:140] = (255, 255, 255)
    out = over_blur(rgb, alpha, radius=20)
    assert (out[60:140, 60:140] == 255).all()
    outside = out[alpha == 0].astype(int)
    assert np.abs(outside - (20, 40, 160)).max() <= 6


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_blur_of_all_or_nothing(value: float) -> None:
    out = over_blur(RGB, np.full((60, 80), value, np.float32))
    assert out.shape == RGB.shape
    if value == 1:
        np.testing.assert_array_equal(out, RGB)
    else:
        assert out.std() < RGB.std()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("white", (255, 255, 255, 255)),
        ("#f80", (255, 136, 0, 255)),
        ("#ff880040", (255, 136, 0, 64)),
        ("12,34,56", (12, 34, 56, 255)),
        ("12, 34, 56, 7", (12, 34, 56, 7)),
        ("rgb(1,2,3)", (1, 2, 3, 255)),
        ((9, 8, 7), (9, 8, 7, 255)),
        ((9, 8, 7, 6), (9, 8, 7, 6)),
    ],
)
def test_colours(text: str | tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert parse_colour(text) == wanted


@pytest.mark.parametrize("text", ["", "whitish", "#12", "1,2", "300,0,0", (1, 2), (1, 2, 3, 4, 5), (-1, 0, 0), "1,x,2"])
def test_no_colours(text: str | tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="not a colour"):
        parse_colour(text)


def test_shapes_must_belong_together() -> None:
    for make in (cut_out, over_blur):
        with pytest.raises(InputError, match="alpha"):
            make(RGB, ALPHA[1:])
    with pytest.raises(InputError):
        over_colour(RGB, ALPHA[1:], (0, 0, 0, 9))
    with pytest.raises(InputError):
        over_picture(RGB, ALPHA, np.zeros((5, 5), np.uint8))
