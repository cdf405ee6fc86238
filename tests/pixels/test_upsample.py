"""The guided filter: against a plain float64 one, and by its properties."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from birefnet.pixels import strips
from birefnet.pixels.prepare import squash
from birefnet.pixels.upsample import Box, coefficients, guided_upsample

RANDOM = np.random.default_rng(3)


def photo(height: int = 120, width: int = 160) -> np.ndarray:
    """Coloured blobs and noise, (height, width, 3) uint8."""
    small = RANDOM.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + RANDOM.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def slow_box(plane: np.ndarray, radius: int) -> np.ndarray:
    out = np.empty_like(plane)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            window = plane[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            out[y, x] = window.mean()
    return out


def slow_slopes(alpha: np.ndarray, guide: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """The definition, pixel by pixel, in float64: the averaged slopes (h, w, 3), of colours in [0, 1]."""
    guide, alpha = guide.astype(float) / 255, alpha.astype(float)
    mean = np.stack([slow_box(guide[..., c], radius) for c in range(3)], -1)
    shared = np.stack([slow_box(guide[..., c] * alpha, radius) for c in range(3)], -1)
    shared -= mean * slow_box(alpha, radius)[..., None]
    spread = np.empty((*alpha.shape, 3, 3))
    for i in range(3):
        for j in range(3):
            spread[..., i, j] = slow_box(guide[..., i] * guide[..., j], radius) - mean[..., i] * mean[..., j]
    slopes = np.linalg.solve(spread + epsilon * np.eye(3), shared[..., None])[..., 0]
    return np.stack([slow_box(slopes[..., c], radius) for c in range(3)], -1)


@pytest.mark.parametrize("guide", ["colour", "grey", "flat"])
def test_equals_the_definition(guide: str) -> None:
    rgb = photo(24, 32)
    if guide == "grey":  # the three colours as one: the hardest case for the solver
        rgb = np.repeat(rgb[..., :1], 3, axis=2)
    if guide == "flat":
        rgb = np.full_like(rgb, 77)
    alpha = RANDOM.random((24, 32), np.float32)
    slopes, _ = coefficients(alpha, rgb, 2, 1e-4)
    wanted = slow_slopes(alpha, rgb, 2, 1e-4)
    # Slopes across grey are free: what counts is what they make of the picture's own differences of colour.
    steps = np.diff(rgb / 255, axis=1, append=0)
    got, want = ((field * steps).sum(-1) for field in (np.stack(slopes, -1) * 255, wanted))
    np.testing.assert_allclose(got, want, atol=5e-3)
    assert np.abs(got - want).mean() < 2e-4


def test_at_the_networks_size_nothing_changes() -> None:
    rgb = photo(64, 96)
    alpha = RANDOM.random((64, 96), np.float32)
    np.testing.assert_allclose(guided_upsample(alpha, rgb, rgb), alpha, atol=1e-5)


def test_box_means() -> None:
    plane = RANDOM.random((17, 23), np.float32)
    for radius in (0, 1, 2, 5):
        np.testing.assert_allclose(Box(17, 23, radius)(plane), slow_box(plane, radius), atol=1e-6)
    for shape in ((1, 1), (1, 9), (2, 30)):
        ones = np.ones(shape, np.float32)
        np.testing.assert_allclose(Box(*shape, 2.5)(ones), 1, atol=1e-6)
    between = Box(17, 23, 1.5)(plane)
    assert (np.abs(between - plane.mean()) <= np.abs(plane - plane.mean()).max()).all()
    line = np.zeros((1, 9), np.float32)
    line[0, 4] = 1
    np.testing.assert_allclose(Box(1, 9, 1.5)(line)[0, 2:7], [0.5 / 4, 1 / 4, 1 / 4, 1 / 4, 0.5 / 4], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_stays_constant(value: float) -> None:
    rgb = photo(300, 400)
    alpha = np.full((64, 96), value, np.float32)
    out = guided_upsample(alpha, squash(rgb, 64, 96), rgb)
    np.testing.assert_allclose(out, value, atol=1e-5)


def test_bounds_and_type() -> None:
    rgb = RANDOM.integers(0, 256, (200, 310, 3), np.uint8)
    out = guided_upsample(RANDOM.random((64, 96), np.float32), squash(rgb, 64, 96), rgb)
    assert out.shape == (200, 310)
    assert out.dtype == np.float32
    assert 0 <= out.min() <= out.max() <= 1


def test_edges_move_to_where_the_colours_change() -> None:
    y, x = np.mgrid[0:480, 0:640]
    # Slanted, so that it falls between the network's pixels everywhere.
    inside = (x * 0.9 + y * 0.4) > 420
    rgb = np.clip(
        np.where(inside[..., None], (200, 150, 60), (40, 70, 140)) + RANDOM.normal(0, 3, (480, 640, 3)), 0, 255
    )
    rgb = rgb.astype(np.uint8)
    coarse = (
        np.asarray(Image.fromarray(inside).convert("L").resize((80, 64), Image.Resampling.BILINEAR), np.float32) / 255
    )
    plain = np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BILINEAR))
    guided = guided_upsample(coarse, squash(rgb, 64, 80), rgb)
    assert np.abs(guided - inside).mean() < 0.5 * np.abs(plain - inside).mean()


def test_without_colour_to_follow_it_is_bilinear() -> None:
    rgb = np.full((256, 256, 3), 90, np.uint8)
    y, x = np.mgrid[0:64, 0:64] / 63
    alpha = (0.2 + 0.5 * x * y).astype(np.float32)
    out = guided_upsample(alpha, squash(rgb, 64, 64), rgb)
    plain = np.asarray(Image.fromarray(alpha).resize((256, 256), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(out, plain, atol=1e-5)


def test_strips_and_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = photo(240, 320)
    alpha = RANDOM.random((64, 64), np.float32)
    seen = squash(rgb, 64, 64)
    whole = guided_upsample(alpha, seen, rgb, threads=1)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 3000)
    np.testing.assert_allclose(guided_upsample(alpha, seen, rgb, threads=3), whole, atol=1e-5)
