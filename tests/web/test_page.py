"""The page in a real browser: pictures in by every way, the same alpha as Python's, what is shown and what is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from birefnet import Remover
from birefnet.pixels import compose
from birefnet.pixels.foreground import estimate_foreground
from birefnet.pixels.picture import read_picture
from birefnet.remover import Cutout
from tests.pixels.test_picture import ADOBE
from tests.web.browser import PHOTOS, PageUnderTest, as_file, encoded, pixels, unzip

pytestmark = pytest.mark.browser

COFFEE = PHOTOS / "coffee.jpg"


@pytest.fixture(scope="module")
def wanted() -> Cutout:
    return Remover("nano")(COFFEE)


@pytest.fixture
def as_new(finished: PageUnderTest) -> PageUnderTest:
    """The finished picture, with nothing chosen."""
    finished.pick("view", "compare")
    finished.pick("background", "none")
    finished.pick("format", "png")
    finished.tab.locator("#clean").set_checked(False, force=True)
    return finished


def test_alpha_is_pythons(as_new: PageUnderTest, wanted: Cutout) -> None:
    as_new.pick("view", "alpha")
    name, content = as_new.save()
    alpha = pixels(content)
    assert name == "coffee-alpha.png"
    assert alpha.shape == wanted.alpha.shape
    assert np.abs(alpha - wanted.alpha * 255).max() <= 3
    assert wanted.has_foreground


def test_saved_colours_survive_low_alpha(as_new: PageUnderTest) -> None:
    rgba = as_new.saved_pixels()
    photo = np.asarray(Image.open(COFFEE).convert("RGB")).astype(int)
    faint = (rgba[..., 3] > 0) & (rgba[..., 3] < 40)
    assert faint.sum() > 100
    assert np.abs(rgba[..., :3].astype(int) - photo)[faint].max() <= 4  # decoders of JPEG differ a little
    assert not rgba[rgba[..., 3] == 0].any()


def test_edges_are_cleaned_as_in_python(as_new: PageUnderTest) -> None:
    as_new.tab.locator("#clean").set_checked(True, force=True)
    rgba = as_new.saved_pixels()
    photo = np.asarray(Image.open(COFFEE).convert("RGB"))
    colours = estimate_foreground(photo, rgba[..., 3] / np.float32(255)).astype(int)
    shown = rgba[..., 3] > 0
    assert np.abs(rgba[..., :3].astype(int) - colours)[shown].max() <= 4
    assert np.abs(colours - photo)[shown].max() > 30


def test_every_background(as_new: PageUnderTest, tmp_path: Path) -> None:
    photo = np.asarray(Image.open(COFFEE).convert("RGB"))
    as_new.pick("view", "alpha")
    alpha = as_new.saved_pixels() / np.float32(255)
    as_new.pick("view", "result")
    as_new.pick("background", "colour")
    as_new.tab.locator("#colour").fill("#20c040")
    name, content = as_new.save()
    assert name == "coffee-colour.png"
    assert_near(pixels(content), compose.over_colour(photo, alpha, (0x20, 0xC0, 0x40)))
    as_new.pick("background", "blur")
    assert_near(as_new.saved_pixels(), compose.over_blur(photo, alpha))
    scene = PHOTOS / "rocket.jpg"
    with as_new.tab.expect_file_chooser() as chooser:
        as_new.pick("background", "picture")
    chooser.value.set_files(scene)
    as_new.tab.locator("#backdrop-name:text('rocket.jpg')").wait_for()
    behind = np.asarray(Image.open(scene).convert("RGB"))
    assert_near(as_new.saved_pixels(), compose.over_picture(photo, alpha, behind))


def assert_near(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want).max() <= 5  # two decoders of JPEG


def test_what_is_seen_is_the_result(as_new: PageUnderTest) -> None:
    as_new.pick("view", "result")
    as_new.pick("background", "colour")
    as_new.tab.locator("#colour").fill("#ff00ff")
    as_new.wait_to_see("#stage", lambda seen: bool((np.abs(seen - (255, 0, 255)).max(-1) <= 2).mean() > 0.2))
    as_new.pick("view", "alpha")
    as_new.wait_to_see("#stage", lambda seen: bool((seen.min(-1) > 250).mean() > 0.1))


def test_webp_has_the_same_alpha(as_new: PageUnderTest) -> None:
    alpha = as_new.saved_pixels()[..., 3]
    as_new.pick("format", "webp")
    name, content = as_new.save()
    assert name == "coffee-cutout.webp"
    assert content[:4] == b"RIFF"
    assert np.abs(pixels(content)[..., 3].astype(int) - alpha).max() <= 2


def test_dropped_pasted_and_turned_pictures(page: PageUnderTest) -> None:
    page.open()
    upright = np.asarray(Image.open(PHOTOS / "flower.jpg").convert("RGB").resize((320, 213)))
    page.send("drop", "dropped.png", encoded(upright), "image/png")
    page.wait_done(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    lying = encoded(np.rot90(upright), "JPEG", quality=97, exif=exif)
    page.send("paste", "image.png", lying, "image/jpeg")
    page.wait_done(2)
    page.pick("view", "alpha")
    first = page.saved_pixels()
    page.tab.locator(".thumb").nth(1).click()
    page.tab.locator("#item-status:has-text('pasted-')").wait_for()
    second = page.saved_pixels()
    assert first.shape == second.shape == (213, 320)
    assert np.abs(first.astype(int) - second).mean() < 2
    assert 0.05 < (first > 128).mean() < 0.95


def test_a_pasted_text_is_no_picture(page: PageUnderTest) -> None:
    page.open()
    page.tab.evaluate(
        "document.body.dispatchEvent(new ClipboardEvent('paste', { bubbles: true, clipboardData: new DataTransfer() }))"
    )
    page.expect("#notices").to_contain_text("holds no picture")


def test_one_broken_among_many(page: PageUnderTest) -> None:
    page.open()
    photo = COFFEE.read_bytes()
    small = encoded(np.asarray(Image.open(COFFEE).resize((120, 80))))
    page.choose(
        as_file("a.png", small),
        as_file("broken.jpg", photo[:300], "image/jpeg"),
        as_file("notes.txt", b"no picture at all", "text/plain"),
        as_file("a.png", small),
    )
    page.wait_done(2)
    page.wait_done(2, status="failed")
    page.expect("#strip-title").to_have_text("2 of 4 pictures done, 2 failed")
    page.tab.locator(".thumb").nth(1).click()
    page.expect("#trouble").to_contain_text("damaged")
    page.expect("#save").to_be_disabled()
    page.tab.locator(".thumb").nth(0).click()
    name, content = page.save("#save-all")
    inside = unzip(content)
    assert name == "cut-outs.zip"
    assert sorted(inside) == ["a-cutout-2.png", "a-cutout.png"]
    for picture in inside.values():
        assert pixels(picture).shape == (80, 120, 4)


def test_transparency_of_the_picture_stays(page: PageUnderTest) -> None:
    page.open()
    rgb = np.asarray(Image.open(COFFEE).convert("RGB"))
    own = np.full(rgb.shape[:2], 255, np.uint8)
    own[:, :300] = 0
    page.choose(as_file("half.png", encoded(np.dstack([rgb, own]))))
    page.wait_done()
    rgba = page.saved_pixels()
    assert not rgba[:, :300].any()
    assert (rgba[:, 300:, 3] > 200).any()


def test_a_wide_colour_profile_becomes_srgb(page: PageUnderTest) -> None:
    page.open()
    flat = np.full((64, 64, 3), (120, 200, 90), np.uint8)
    page.choose(as_file("wide.png", encoded(flat, icc_profile=ADOBE)))
    page.wait_done()
    want = read_picture(encoded(flat, icc_profile=ADOBE)).rgb[32, 32].astype(int)
    assert np.abs(want - (120, 200, 90)).max() > 20

    def converted(shown: np.ndarray) -> bool:
        height, width = shown.shape[:2]
        return bool(np.abs(shown[height // 2, width // 2 - 40] - want).max() <= 3)  # left of the divider: before

    page.wait_to_see("#canvas", converted)


def test_cancelling_and_trying_again(page: PageUnderTest) -> None:
    page.open()
    page.tab.route("**/*.onnx", lambda route: None)  # the model does not come, so neither picture can be done before
    page.choose(COFFEE, PHOTOS / "flower.jpg")
    page.expect("body").to_have_attribute("data-engine", "fetching")
    page.tab.locator("#cancel-one").click()
    page.wait_done(2, status="cancelled")
    page.expect("body").to_have_attribute("data-engine", "idle")  # the worker is gone, not only its answer unwanted
    page.tab.unroute("**/*.onnx")
    page.tab.locator("#retry").click()
    page.wait_done(1)
    page.tab.locator("#clear").click()
    page.expect("#choose").to_be_visible()
    page.expect(".thumb").to_have_count(0)


def test_the_sample_is_drawn_and_cut_out(page: PageUnderTest) -> None:
    page.open()
    page.tab.locator("#sample").click()
    page.wait_done()
    alpha = page.saved_pixels()[..., 3]
    assert alpha[290, 480] > 250 and alpha[60, 60] < 5 and alpha[700, 900] < 60


def test_zoom_by_keys_and_wheel_and_the_divider(as_new: PageUnderTest) -> None:
    tab = as_new.tab
    as_new.expect("#divider").to_have_attribute("aria-valuenow", "50")  # the result is uncovered
    tab.locator("#zoom-fit").click()
    shown = tab.inner_text("#zoom-value")
    fitted = int(shown.removesuffix(" %"))
    tab.locator("#stage").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        tab.keyboard.press(key)
    near = wait_for_zoom(as_new, "now > before * 1.4", fitted)
    tab.mouse.move(500, 300)
    tab.mouse.wheel(0, 300)
    wait_for_zoom(as_new, "now < before", near)
    tab.keyboard.press("0")
    as_new.expect("#zoom-value").to_have_text(shown)
    tab.locator("#divider").focus()
    tab.keyboard.press("Home")
    tab.keyboard.press("PageUp")
    as_new.expect("#divider").to_have_attribute("aria-valuenow", "10")
    as_new.expect("#divider").to_have_attribute("aria-valuetext", "10 percent before, 90 percent after")


def wait_for_zoom(page: PageUnderTest, condition: str, before: int) -> int:
    """The zoom in percent, once `condition` on `now` and `before` holds."""
    now = "const now = parseInt(document.getElementById('zoom-value').textContent)"
    handle = page.tab.wait_for_function(f"(before) => {{ {now}; return {condition} && now; }}", arg=before)
    return int(handle.json_value())
