"""The page for everyone: accessible by axe's rules in every dress, whole on a phone, usable with keys alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.web.browser import PHOTOS, PageUnderTest, as_file, encoded
from tests.web.conftest import check_clean
from tests.web.node import absent

pytestmark = pytest.mark.browser

AXE = "axe-core@4.14.1"
DRESSES = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core: from installed packages, or as npm gives it."""
    places = [os.environ.get("BIREFNET_NODE_MODULES", ""), str(Path(__file__).parent / "node_modules")]
    for place in filter(None, places):
        if (path := Path(place) / "axe-core" / "axe.min.js").is_file():
            return path.read_text("utf-8")
    npm = shutil.which("npm")
    if npm is None:
        absent("axe-core, or npm to fetch it")
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, check=True, capture_output=True, timeout=120)
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder)
    return (folder / "package" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module", params=["desktop", "phone"])
def dressed(chromium: Any, site: str, request: pytest.FixtureRequest) -> Iterator[PageUnderTest]:
    """The page with results and one failure."""
    context = chromium.new_context(**DRESSES[request.param])
    page = PageUnderTest(context, site).open()
    page.choose(PHOTOS / "coffee.jpg", as_file("broken.jpg", b"no picture", "image/jpeg"))
    page.wait_done()
    page.wait_done(status="failed")
    yield page
    context.close()
    check_clean(page)


def serious(page: PageUnderTest, axe: str) -> list[str]:
    """What axe finds that is serious or critical; colours that are still fading do not count."""
    page.settle()
    page.tab.evaluate(axe)
    found = page.tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{rule['id']}: {json.dumps([node['html'][:120] for node in rule['nodes']])}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(dressed: PageUnderTest, axe: str, scheme: str) -> None:
    tab = dressed.tab
    tab.emulate_media(color_scheme=scheme)
    tab.locator(f":root[data-theme={scheme}]").wait_for(state="attached")
    for picture in range(2):
        tab.locator(".thumb").nth(picture).click()
        assert serious(dressed, axe) == []
    dressed.open_models()
    assert serious(dressed, axe) == []
    tab.keyboard.press("Escape")
    dressed.expect("#models").to_be_hidden()


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_empty_page(
    chromium: Any, site: str, axe: str, dress: str, scheme: str
) -> None:
    context = chromium.new_context(color_scheme=scheme, **DRESSES[dress])
    page = PageUnderTest(context, site).open()
    assert serious(page, axe) == []
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= DRESSES[dress]["viewport"]["width"]
    context.close()


def test_nothing_is_cut_off(dressed: PageUnderTest) -> None:
    width, height = (dressed.tab.viewport_size[side] for side in ("width", "height"))
    assert dressed.tab.evaluate("document.documentElement.scrollWidth") <= width
    dressed.tab.locator(".thumb").nth(0).click()
    dressed.expect("#trouble").to_be_hidden()
    for part in ("#stage", "#save", "#privacy"):
        box = dressed.tab.locator(part).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height


def test_dark_when_asked_for_and_kept(page: PageUnderTest) -> None:
    page.open()
    page.expect("#theme").to_have_attribute("aria-pressed", "false")
    page.tab.locator("#theme").click()
    page.expect(":root").to_have_attribute("data-theme", "dark")
    page.open()
    page.expect(":root").to_have_attribute("data-theme", "dark")


def test_with_keys_alone(page: PageUnderTest) -> None:
    page.open()
    press = page.tab.keyboard.press
    focused = "document.activeElement.id || document.activeElement.className || document.activeElement.name"
    order = []
    for _ in range(4):
        press("Tab")
        order.append(page.tab.evaluate(focused))
    assert order == ["open-models", "theme", "choose", "sample"]
    press("Enter")
    page.wait_done()
    page.tab.locator("#divider").wait_for()
    page.expect("#stage").to_be_focused()
    page.tab.locator("#open-models").focus()
    seen = set()
    for _ in range(24):
        press("Tab")
        seen.add(page.tab.evaluate(focused))
    assert seen >= {"stage", "divider", "zoom-in", "zoom-fit", "thumb", "view", "background", "clean", "format", "save"}
    page.tab.locator('input[name="view"]:checked').focus()
    press("ArrowRight")
    page.expect('input[name="view"]:checked').to_have_attribute("value", "result")
    page.expect("#announcer").to_contain_text("balloon.png")


def test_the_page_says_where_pictures_go(page: PageUnderTest) -> None:
    page.open()
    page.expect("#privacy").to_have_text("Pictures never leave this machine")
    page.expect("#place").to_be_hidden()  # no server answers here


def test_the_server_computes_only_when_it_is_chosen(page: PageUnderTest) -> None:
    photo = PHOTOS / "coffee.jpg"
    mask = np.zeros((400, 600), np.uint8)
    mask[100:300, 200:400] = 255
    models = json.dumps({"models": [{"name": "lite", "size": [1024, 1024], "default": True}]})
    sent = []

    def remove(route: Any) -> None:
        sent.append(route.request.url)
        route.fulfill(status=200, content_type="image/png", body=encoded(mask))

    page.tab.route("**/v1/models", lambda route: route.fulfill(content_type="application/json", body=models))
    page.tab.route("**/v1/remove*", remove)
    page.open()
    page.choose(photo)
    page.wait_done()
    assert not sent
    page.open_models()
    page.pick("place", "server")
    page.expect("#privacy").to_contain_text("Pictures are sent to 127.0.0.1")
    page.tab.keyboard.press("Escape")
    page.expect("#item-status").to_contain_text("600 x 400")
    page.wait_done()
    assert len(sent) == 1 and "model=lite" in sent[0] and "output=mask" in sent[0]
    page.pick("view", "alpha")
    assert (page.saved_pixels() == mask).all()
    page.expect("#notices").to_contain_text("Pictures are now sent to")
