"""The page's pixel modules follow the same rules as Python's: same golden arrays, same answers on random pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet.pixels import compose
from birefnet.pixels.alpha import finish, has_foreground, sigmoid
from birefnet.pixels.foreground import estimate_foreground
from birefnet.pixels.foreground_fusion import blur_fusion
from birefnet.pixels.foreground_tiles import tiles
from birefnet.pixels.picture import read_picture
from birefnet.pixels.prepare import Frame, InputSpec, prepare, squash
from birefnet.runtimes.web_selftest import known_answers, known_picture
from tests.web.node import Node, rgba, size_of

pytestmark = pytest.mark.browser

GOLDEN = Path(__file__).parents[1] / "golden" / "pixels"
PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "chelsea.jpg"
RANDOM = np.random.default_rng(6)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def as_object(spec: InputSpec) -> dict[str, object]:
    return {"width": spec.width, "height": spec.height, "mean": list(spec.mean), "std": list(spec.std)}


def run_prepare(node: Node, rgb: np.ndarray, spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    out = node("pixels/prepare.js", "prepare", rgba(rgb), size_of(rgb), as_object(spec))
    shape = (spec.height, spec.width)
    return out["batch"].reshape(1, 3, *shape), out["seen"].reshape(*shape, 3)


def test_prepare_equals_the_reference_at_128(node: Node) -> None:
    batch, _ = run_prepare(node, read_picture(GOLDEN / "picture.png").rgb, InputSpec(width=128, height=128))
    assert np.abs(batch[0] - np.load(GOLDEN / "preprocessed_128.npz")["x"]).max() < 1e-5


def test_prepare_equals_the_reference_when_one_side_grows(node: Node) -> None:
    batch, _ = run_prepare(node, read_picture(GOLDEN / "picture.png").rgb, InputSpec(width=448, height=320))
    wanted = np.load(GOLDEN / "preprocessed_320x448_every_4th.npz")["x"]  # stored in half precision
    assert np.abs(batch[0, :, ::4, ::4] - wanted).max() < 2e-3


@pytest.mark.parametrize("shape", [(700, 500), (1, 1), (1, 900), (900, 1), (64, 96), (33, 1025), (64, 500)])
def test_prepare_changes_no_bit(node: Node, shape: tuple[int, int]) -> None:
    rgb = RANDOM.integers(0, 256, (*shape, 3), np.uint8)
    spec = InputSpec(width=96, height=64, mean=(0.5, 0.4, 0.3), std=(0.25, 1, 2))
    batch, seen = run_prepare(node, rgb, spec)
    np.testing.assert_array_equal(seen, squash(rgb, 64, 96))
    assert np.abs(batch - prepare(rgb, spec)[0]).max() < 1e-6


def test_transparency_is_shown_as_grey_and_kept(node: Node) -> None:
    rgb, own = RANDOM.integers(0, 256, (20, 30, 3), np.uint8), RANDOM.integers(0, 256, (20, 30), np.uint8)
    picture = rgba(rgb, own)
    kept = node("pixels/prepare.js", "flatten", picture)
    np.testing.assert_array_equal(kept.reshape(20, 30), own)
    shown = node("pixels/prepare.js", "flatten", picture, returns_argument=0).reshape(20, 30, 4)
    wanted = compose.over_colour(rgb, own / np.float32(255), (128, 128, 128))
    np.testing.assert_array_equal(shown[..., :3], wanted)
    assert (shown[..., 3] == 255).all()
    assert node("pixels/prepare.js", "flatten", rgba(rgb)) is None


@pytest.mark.parametrize("shape", [(300, 500), (96, 96), (40, 60), (300, 60)])
@pytest.mark.parametrize("sharpen", [False, True])
def test_alpha_comes_back_as_in_python(node: Node, shape: tuple[int, int], sharpen: bool) -> None:
    rgb = np.asarray(Image.open(PHOTO).convert("RGB").resize(shape[::-1]))
    seen = squash(rgb, 96, 96)
    logits = ((seen.astype(np.float32).mean(-1) - 120) / 9).astype(np.float32)
    guide = {"seen": seen.ravel(), "rgba": rgba(rgb)} if sharpen else None
    got = node("pixels/alpha.js", "finish", logits, size_of(seen), size_of(rgb), guide).reshape(shape)
    wanted = finish(logits[None, None], Frame(*shape, seen), rgb=rgb, sharpen=sharpen)
    assert np.abs(got - wanted * 255).max() <= 1
    assert 20 < got.mean() < 235


def test_sigmoid_of_anything_finite(node: Node) -> None:
    logits = np.array([0, 1, -1, 90, -90, 3e38, -3e38, 1e-30], np.float32)
    np.testing.assert_allclose(node("pixels/alpha.js", "sigmoid", logits), sigmoid(logits), atol=2e-7)
    assert node("pixels/alpha.js", "allFinite", logits)
    assert not node("pixels/alpha.js", "allFinite", np.array([0, np.nan], np.float32))


@pytest.mark.parametrize(("pixels", "found"), [(15, False), (16, True)])
def test_whether_there_is_a_subject(node: Node, pixels: int, found: bool) -> None:
    alpha = np.zeros((256, 256), np.uint8)
    alpha[0, :pixels] = 128
    assert node("pixels/alpha.js", "hasForeground", alpha) is found
    assert has_foreground(alpha / np.float32(255)) is found


@pytest.mark.parametrize("wide", [90, 30])
def test_foreground_as_the_reference(node: Node, wide: int) -> None:
    rgb = np.asarray(Image.open(GOLDEN / "picture.png").convert("RGB"))
    alpha = np.asarray(Image.open(GOLDEN / "alpha.png").convert("L"))
    wanted = np.asarray(Image.open(GOLDEN / f"foreground_r{wide}.png").convert("RGB")).astype(int)
    out = node("pixels/foreground.js", "blurFusion", rgba(rgb), alpha, size_of(rgb), wide).reshape(*alpha.shape, 4)
    assert np.abs(out[..., :3].astype(int) - wanted).max() <= 1
    python = blur_fusion(rgb, alpha / np.float32(255), wide=wide).astype(int)
    assert np.abs(out[..., :3].astype(int) - python).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (40, 1), (2, 3), (45, 46), (91, 200), (400, 700)])
def test_foreground_of_any_size_and_border(node: Node, shape: tuple[int, int]) -> None:
    rgb = RANDOM.integers(0, 256, (*shape, 3), np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    edge = np.clip((60 - np.hypot(y - shape[0] / 2, x - shape[1] / 3)) / 8, 0, 1)
    alpha = np.rint(edge * 255).astype(np.uint8)
    out = node("pixels/foreground.js", "blurFusion", rgba(rgb), alpha, size_of(rgb)).reshape(*shape, 4)
    wanted = estimate_foreground(rgb, alpha / np.float32(255))
    assert np.abs(out[..., :3].astype(int) - wanted.astype(int)).max() <= 1
    np.testing.assert_array_equal(out[alpha == 255][:, :3], rgb[alpha == 255])


def test_the_same_tiles_are_chosen(node: Node) -> None:
    y, x = np.mgrid[:900, :1200]
    alpha = np.rint(np.clip((320 - np.hypot(y - 450, x - 500)) / 20, 0, 1) * 255).astype(np.uint8)
    got = node("pixels/tiles.js", "tiles", alpha, size_of(alpha), 96)
    empty, edges = tiles(alpha / np.float32(255), 0.5 / 1020, halo=96)
    for kind, wanted in (("empty", empty), ("edges", edges)):
        assert {tuple(tile[side] for side in ("top", "bottom", "left", "right")) for tile in got[kind]} == set(wanted)


def pair(shape: tuple[int, int] = (60, 80)) -> tuple[np.ndarray, np.ndarray]:
    alpha = RANDOM.integers(0, 256, shape, np.uint8)
    alpha[:10], alpha[10:20] = 0, 255
    return RANDOM.integers(0, 256, (*shape, 3), np.uint8), alpha


def test_cut_out_and_colours_are_the_same_bytes(node: Node) -> None:
    rgb, alpha = pair()
    share = alpha / np.float32(255)
    got = node("pixels/compose.js", "cutOut", rgba(rgb), alpha).reshape(60, 80, 4)
    np.testing.assert_array_equal(got, compose.cut_out(rgb, share))
    got = node("pixels/compose.js", "overColour", rgba(rgb), alpha, [10, 200, 255]).reshape(60, 80, 4)
    np.testing.assert_array_equal(got[..., :3], compose.over_colour(rgb, share, (10, 200, 255)))
    assert (got[..., 3] == 255).all()
    got = node("pixels/compose.js", "grey", alpha).reshape(60, 80, 4)
    np.testing.assert_array_equal(got[..., 1], alpha)


@pytest.mark.parametrize("shape", [(60, 80), (30, 200), (300, 90), (7, 5)])
def test_over_a_picture_is_the_same_within_one(node: Node, shape: tuple[int, int]) -> None:
    rgb, alpha = pair()
    behind = np.asarray(Image.open(PHOTO).convert("RGB").resize(shape[::-1]))
    background = {"rgba": rgba(behind), **size_of(behind)}
    got = node("pixels/compose.js", "overPicture", rgba(rgb), alpha, size_of(rgb), background).reshape(60, 80, 4)
    wanted = compose.over_picture(rgb, alpha / np.float32(255), behind)
    assert np.abs(got[..., :3].astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("shape", [(60, 80), (300, 451), (1300, 900)])
def test_over_its_blurred_scene_is_the_same_within_two(node: Node, shape: tuple[int, int]) -> None:
    rgb = np.asarray(Image.open(PHOTO).convert("RGB").resize(shape[::-1]))
    y, x = np.mgrid[: shape[0], : shape[1]]
    away = np.hypot(y - shape[0] / 2, x - shape[1] / 2)
    alpha = np.rint(np.clip((shape[0] / 4 - away) / 9, 0, 1) * 255).astype(np.uint8)
    picture = rgba(rgb)
    got = node("pixels/compose.js", "overBlur", picture, picture, alpha, size_of(rgb)).reshape(*shape, 4)
    wanted = compose.over_blur(rgb, alpha / np.float32(255))
    assert np.abs(got[..., :3].astype(int) - wanted).max() <= 2


def see_through(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo with an alpha of its own and loud colours hidden under it; those three, and what white paper shows."""
    rgb = np.array(Image.open(PHOTO).convert("RGB").resize(shape[::-1]))
    own = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    own[: shape[0] // 2] = 0
    rgb[own == 0] = (0, 255, 0)
    shown = compose.over_colour(rgb, own / np.float32(255), (255, 255, 255))
    return np.dstack([rgb, own]), own, shown


def test_colours_hidden_in_a_background_stay_hidden(node: Node) -> None:
    rgb, alpha = pair()
    behind, _, shown = see_through((50, 70))
    background = {"rgba": behind, **size_of(behind)}
    got = node("pixels/compose.js", "overPicture", rgba(rgb), alpha, size_of(rgb), background).reshape(60, 80, 4)
    wanted = compose.over_picture(rgb, alpha / np.float32(255), shown)
    assert np.abs(got[..., :3].astype(int) - wanted).max() <= 1
    np.testing.assert_array_equal(background["rgba"], behind)


def test_colours_hidden_in_a_picture_stay_hidden_in_its_blurred_scene(node: Node) -> None:
    picture, own, shown = see_through((60, 80))
    alpha = own // 2
    got = node("pixels/compose.js", "overBlur", picture, picture, alpha, size_of(picture)).reshape(60, 80, 4)
    wanted = compose.over_blur(shown, alpha / np.float32(255), subject=picture[..., :3].copy())
    assert np.abs(got[..., :3].astype(int) - wanted).max() <= 2
    assert got[:10, :, [0, 2]].min() > 250  # where all was hidden there is white paper, and no green


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 160)])
def test_the_self_test_has_one_picture_and_one_grid(node: Node, width: int, height: int) -> None:
    size = {"width": width, "height": height}
    picture = known_picture(width, height)
    np.testing.assert_array_equal(node("selftest.js", "testPicture", size), picture.ravel())
    answers = known_answers(lambda batch: batch[:, :1], InputSpec(width=width, height=height))
    assert node("selftest.js", "gridPoints", size) == answers["points"]
    sampled = node("selftest.js", "sampled", picture[0, 0].ravel(), width, answers["points"])
    np.testing.assert_allclose(sampled, answers["logits"], atol=1e-4)
