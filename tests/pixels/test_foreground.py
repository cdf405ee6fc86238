"""The subject's own colours: as the reference's, exact where they are known, and never the background's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.errors import ConfigError, InputError, MissingExtra
from birefnet.pixels import foreground
from birefnet.pixels.compose import cut_out
from birefnet.pixels.foreground import METHODS, check_method, estimate_foreground
from birefnet.pixels.foreground_fusion import blur_fusion
from birefnet.pixels.foreground_tiles import CELL, tiles

GOLDEN = Path(__file__).parents[1] / "golden/pixels"


def golden(name: str, mode: str = "RGB") -> np.ndarray:
    """One of the arrays that the reference made or was given."""
    return np.asarray(Image.open(GOLDEN / f"{name}.png").convert(mode))


def plain_blur(planes: np.ndarray, side: int) -> np.ndarray:
    """Means over side x side pixels, one more before than after, mirrored at the border; (H, W, c) float64."""
    before, after = side // 2, side - side // 2 - 1
    pad = ((before, after), (before, after), (0, 0))
    wide = np.pad(planes, pad, mode="reflect") if min(planes.shape[:2]) > 1 else np.pad(planes, pad, mode="symmetric")
    total = np.pad(wide, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
    whole = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return whole / (side * side)


def plain_fusion(rgb: np.ndarray, alpha: np.ndarray, wide: int = 90) -> np.ndarray:
    """The method as the paper writes it: whole pictures, float64; values in 0..255, not rounded."""
    picture, a = rgb / 255, alpha.astype(np.float64)[..., None]
    front = back = picture
    for side in (wide, 6):
        share = plain_blur(a, side)
        mean = plain_blur(front * a, side) / (share + 1e-5)
        back = plain_blur(back * (1 - a), side) / (1 - share + 1e-5)
        front = np.clip(mean + a * (picture - a * mean - (1 - a) * back), 0, 1)
    return front * 255


@pytest.mark.parametrize("wide", [90, 30])
def test_as_the_reference_within_one_grey_level(wide: int) -> None:
    wanted = golden(f"foreground_r{wide}").astype(int)
    alpha = golden("alpha", "L").astype(np.float32) / 255
    assert ((alpha > 0) & (alpha < 1)).mean() > 0.1  # there is an edge to judge
    got = blur_fusion(golden("picture"), alpha, wide=wide).astype(int)
    assert np.abs(got - wanted).max() <= 1
    assert np.abs(got - golden("picture").astype(int)).max() > 30


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (40, 1), (2, 3), (5, 50), (45, 46), (91, 200), (3 * CELL, 5 * CELL + 3)]
)
def test_pictures_of_any_size_and_border(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (*shape, 3), np.uint8)
    alpha = np.clip(random.random(shape, np.float32) * 2 - 0.5, 0, 1)
    got = estimate_foreground(rgb, alpha)
    assert got.shape == rgb.shape and got.dtype == np.uint8
    if min(shape) > 1:  # numpy mirrors a single row by repeating it, which is the same
        assert np.abs(got - plain_fusion(rgb, alpha)).max() < 0.75
    assert (got[alpha == 1] == rgb[alpha == 1]).all()


def blobs(height: int, width: int) -> np.ndarray:
    """Solid, empty and soft parts, some thin, some at the border."""
    y, x = np.mgrid[:height, :width]
    inside = np.maximum(85 - np.hypot(y - 100, x - 110), 25 - np.hypot(y - height, x - width + 30))
    inside = np.maximum(inside, np.minimum(2 - np.abs(y - x * 0.5 - 100), x - 200))
    return np.clip(inside / 12 + 0.5, 0, 1).astype(np.float32)


def test_working_only_near_edges_changes_nothing() -> None:
    alpha = blobs(400, 500)
    rgb = np.random.default_rng(1).integers(0, 256, (400, 500, 3), np.uint8)
    empty, edges = tiles(alpha, 0.5 / 1020, halo=96)
    assert empty and edges
    assert sum((b - t) * (r - x) for t, b, x, r in edges) < 0.7 * alpha.size
    shown = alpha > 0.5 / 255
    assert np.abs(blur_fusion(rgb, alpha) - plain_fusion(rgb, alpha))[shown].max() < 0.75
    stored = np.rint(alpha * 255).astype(np.float32) / 255  # an 8-bit alpha falls on steps of ours: the same everywhere
    assert np.abs(blur_fusion(rgb, stored) - plain_fusion(rgb, stored)).max() < 0.75


def test_the_number_of_threads_changes_nothing() -> None:
    alpha = blobs(400, 500)
    rgb = np.random.default_rng(2).integers(0, 256, (400, 500, 3), np.uint8)
    np.testing.assert_array_equal(blur_fusion(rgb, alpha, threads=1), blur_fusion(rgb, alpha, threads=3))


def test_tiles_do_not_overlap_and_what_they_leave_out_is_solid() -> None:
    alpha = np.clip((380 - np.hypot(*np.mgrid[-465:466, -510:507])) / 20, 0, 1).astype(np.float32)
    seen = np.zeros(alpha.shape, int)
    empty, edges = tiles(alpha, 0.5 / 1020, halo=96)
    for top, bottom, left, right in empty + edges:
        assert 0 <= top < bottom <= 931 and 0 <= left < right <= 1017
        seen[top:bottom, left:right] += 1
    assert seen.max() == 1 and (alpha[seen == 0] == 1).all() and (seen == 0).any()
    for top, bottom, left, right in empty:
        assert (alpha[top:bottom, left:right] == 0).all()


def mixture() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A green subject mixed into a red scene over a soft edge, its alpha, and its true colours."""
    alpha = np.clip((90 - np.hypot(*np.mgrid[-120:120, -160:160])) / 16 + 0.5, 0, 1).astype(np.float32)
    subject = np.broadcast_to(np.array([20, 200, 60]), (*alpha.shape, 3))
    scene = np.array([220, 10, 30])
    rgb = np.rint(subject * alpha[..., None] + scene * (1 - alpha[..., None])).astype(np.uint8)
    return rgb, alpha, subject


def check_true_colours(method: str) -> None:
    rgb, alpha, subject = mixture()
    out = estimate_foreground(rgb, alpha, method)
    shown = alpha > 0.02
    assert np.abs(out[shown].astype(int) - subject[shown]).max() <= 24  # the picture is off by up to 196
    assert (out[alpha == 1] == rgb[alpha == 1]).all()
    assert out[..., 0][alpha < 1].max() < 60  # nothing of the red scene, and no alpha mixed in
    saved = cut_out(out, alpha)
    assert (saved[saved[..., 3] == 0] == 0).all()


def test_true_colours_are_found_again() -> None:
    check_true_colours("blur_fusion")


@pytest.mark.slow  # pymatting compiles itself at its first import
@pytest.mark.parametrize("method", ["closed_form", "multi_level"])
def test_true_colours_are_found_by_pymatting(method: str) -> None:
    pytest.importorskip("pymatting")
    check_true_colours(method)


def test_all_or_nothing() -> None:
    rgb = golden("picture")
    np.testing.assert_array_equal(estimate_foreground(rgb, np.ones(rgb.shape[:2])), rgb)
    assert not estimate_foreground(rgb, np.zeros(rgb.shape[:2])).any()


@pytest.mark.parametrize(
    ("alpha", "method", "error", "sentence"),
    [
        (np.zeros((9, 9)), "blur_fusion", InputError, "alpha of"),
        (np.zeros((8, 9), np.uint8), "blur_fusion", InputError, "floating point"),
        (np.full((8, 9), 1.5), "blur_fusion", InputError, "from 1.5 to 1.5"),
        (np.full((8, 9), np.nan), "blur_fusion", InputError, "in \\[0, 1\\]"),
        (np.zeros((8, 9)), "magic", ConfigError, "known: blur_fusion, closed_form, multi_level"),
    ],
)
def test_what_cannot_be_meant_is_refused(alpha: np.ndarray, method: str, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        estimate_foreground(np.zeros((8, 9, 3), np.uint8), alpha, method)


def test_a_missing_library_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> Callable[..., None]:
        raise MissingExtra(f"This needs `{module}`: birefnet[{extra}]")

    monkeypatch.setattr(foreground, "find_spec", lambda name: None)
    monkeypatch.setattr(foreground, "require", missing)
    assert check_method("blur_fusion") == "blur_fusion"
    for method in set(METHODS) - {"blur_fusion"}:
        with pytest.raises(MissingExtra, match=r"birefnet\[matting\]"):
            check_method(method)
