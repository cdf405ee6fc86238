"""Logits come back to the picture's size as the network meant them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import InputError
from birefnet.pixels import strips
from birefnet.pixels.alpha import finish, has_foreground, resize_alpha, sigmoid
from birefnet.pixels.prepare import Frame, InputSpec, prepare


def logits(height: int = 32, width: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 4, (1, 1, height, width)).astype(np.float32)


def test_sigmoid_is_exact_and_never_overflows() -> None:
    x = np.array([-1e30, -200, -5, 0, 5, 200, 1e30], np.float32)
    with np.errstate(all="raise"):
        alpha = sigmoid(x)
    np.testing.assert_allclose(alpha, [0, 0, 1 / (1 + np.exp(5)), 0.5, 1 / (1 + np.exp(-5)), 1, 1], atol=1e-7)
    assert alpha.dtype == np.float32


def test_the_same_size_is_the_sigmoid_itself() -> None:
    x = logits()
    np.testing.assert_array_equal(finish(x, Frame(32, 48)), sigmoid(x[0, 0]))


@pytest.mark.parametrize("frame", [Frame(333, 127), Frame(7, 500), Frame(1, 1), Frame(1, 5000), Frame(64, 96)])
def test_equals_a_bilinear_resize_of_the_whole(frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_PIXELS", 3000)
    x = logits()
    alpha = finish(x, frame)
    whole = Image.fromarray(sigmoid(x[0, 0])).resize((frame.width, frame.height), Image.Resampling.BILINEAR)
    assert alpha.shape == (frame.height, frame.width)
    assert alpha.dtype == np.float32
    np.testing.assert_allclose(alpha, np.asarray(whole), atol=2e-6)
    assert 0 <= alpha.min() <= alpha.max() <= 1


def test_nothing_is_stretched() -> None:
    quiet = np.full((1, 1, 32, 32), -6, np.float32)
    quiet[0, 0, 10:20, 10:20] = -4  # noise: were each picture stretched to 0..1, this would become a subject
    alpha = finish(quiet, Frame(100, 100))
    assert alpha.max() < 0.02
    assert not has_foreground(alpha)


def test_prepare_and_finish_keep_things_in_place() -> None:
    y, x = np.mgrid[0:301, 0:517]
    disc = (np.hypot(y - 120, x - 300) < 80).astype(np.uint8) * 255
    batch, frame = prepare(np.dstack([disc] * 3), InputSpec(width=160, height=96, mean=(0.5,) * 3, std=(1, 1, 1)))
    alpha = finish(batch[:, :1] * 40, frame)
    assert alpha.shape == disc.shape
    assert (np.abs(alpha - disc / 255) > 0.5).mean() < 0.006  # the edge only
    weight = alpha.sum()
    assert abs((alpha * y).sum() / weight - 120) < 0.3
    assert abs((alpha * x).sum() / weight - 300) < 0.3


def test_the_picture_guides_the_edge() -> None:
    y, x = np.mgrid[0:400, 0:600]
    disc = np.hypot(y - 200, x - 300) < 120
    rgb = np.where(disc[..., None], (220, 180, 40), (30, 60, 120)).astype(np.uint8)
    spec = InputSpec(width=96, height=64)
    _, frame = prepare(rgb, spec)
    coarse = 0.5 - np.asarray(Image.fromarray(disc).convert("F").resize((96, 64), Image.Resampling.BOX)) / 255
    x_logits = (-coarse * 8).astype(np.float32)[None, None]
    plain, guided = finish(x_logits, frame), finish(x_logits, frame, rgb=rgb, sharpen=True)
    assert np.abs(guided - disc).mean() < 0.8 * np.abs(plain - disc).mean()
    again = finish(x_logits, Frame(400, 600), rgb=rgb, sharpen=True)  # without the picture that was seen
    np.testing.assert_array_equal(again, guided)


def test_sharpening_needs_the_right_picture() -> None:
    x = logits()
    with pytest.raises(InputError, match="pass `rgb`"):
        finish(x, Frame(64, 64), sharpen=True)
    with pytest.raises(InputError, match="frame is 64x64"):
        finish(x, Frame(64, 64), rgb=np.zeros((64, 65, 3), np.uint8), sharpen=True)
    small = finish(x, Frame(8, 8), sharpen=True)  # nothing to sharpen
    np.testing.assert_array_equal(small, finish(x, Frame(8, 8)))


def test_wrong_shapes() -> None:
    with pytest.raises(InputError, match="Wanted logits"):
        finish(np.zeros((1, 2, 32, 32), np.float32), Frame(4, 4))


def test_has_foreground() -> None:
    alpha = np.zeros((256, 256), np.float32)
    assert not has_foreground(alpha)
    alpha[0, :15] = 0.9  # 65536 / 4096 = 16 pixels are wanted
    assert not has_foreground(alpha)
    alpha[0, 15] = 0.51
    assert has_foreground(alpha)
    assert has_foreground(np.ones((1, 1), np.float32))
    assert not has_foreground(np.full((100, 100), 0.5, np.float32))


def test_resizing_to_the_same_size_copies_nothing() -> None:
    alpha = np.random.default_rng(0).random((5, 6), np.float32)
    assert resize_alpha(alpha, 5, 6) is alpha
