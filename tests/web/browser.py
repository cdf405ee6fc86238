"""Driving the page in headless Chromium: finding the browser, bringing pictures in, reading what was saved."""

from __future__ import annotations

import base64
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.web.node import absent

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60_000  # milliseconds for anything: the page answers when it can, and machines for tests are slow


def chromium_path() -> str:
    """Where Chromium is: BIREFNET_CHROMIUM, or on the PATH; see `absent` for where it is not."""
    found = os.environ.get("BIREFNET_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        absent("Chromium, which shows the page")
    return found


def launch(playwright: Any, *flags: str) -> Any:
    """A headless Chromium of its own; it may be root's, as in containers."""
    path = chromium_path()
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--headless=new", *flags])


class PageUnderTest:
    """A tab with the page open, and everything it asked the network for.

    Nothing here looks once and decides: what a click brings about may come later, so each look waits for it.
    """

    def __init__(self, context: Any, url: str) -> None:
        context.set_default_timeout(PATIENCE)
        self.tab = context.new_page()
        self.url = url
        self.requests: list[str] = []
        self.faults: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.tab.on("console", lambda told: "Content Security" in told.text and self.faults.append(told.text))

    def open(self, search: str = "") -> PageUnderTest:
        self.tab.goto(f"{self.url}/{search}")
        self.tab.locator("body[data-ready]").wait_for()
        return self

    def expect(self, selector: str) -> Any:
        """Playwright's assertions about what is at `selector`: they wait until they hold."""
        from playwright.sync_api import expect

        expect.set_options(timeout=PATIENCE)
        return expect(self.tab.locator(selector))

    def open_models(self) -> None:
        self.tab.locator("#open-models").click()
        self.tab.locator("#models[open] .variant").first.wait_for()

    def settle(self) -> None:
        """Wait until nothing moves or fades any more; what turns for ever does not count."""
        moving = "animation.playState === 'running' && animation.effect.getTiming().iterations !== Infinity"
        self.tab.wait_for_function(f"() => !document.getAnimations().some((animation) => {moving})")

    def choose(self, *paths: Path | dict[str, Any]) -> None:
        """By the file chooser; a dict is a file made up: name, mimeType, buffer."""
        kinds = {".jpg": "image/jpeg", ".png": "image/png"}
        files = [
            as_file(path.name, path.read_bytes(), kinds[path.suffix]) if isinstance(path, Path) else path
            for path in paths
        ]
        self.tab.set_input_files("#files", files)

    def send(self, event: str, name: str, content: bytes, kind: str) -> None:
        """Drop a file on the page, or paste it."""
        text = base64.b64encode(content).decode()
        self.tab.evaluate(
            """([event, name, text, kind]) => {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], name, { type: kind }));
                const init = { bubbles: true, cancelable: true };
                document.body.dispatchEvent(event === "paste"
                    ? new ClipboardEvent("paste", { ...init, clipboardData: data })
                    : new DragEvent(event, { ...init, dataTransfer: data }));
            }""",
            [event, name, text, kind],
        )

    def wait_done(self, count: int = 1, status: str = "done") -> None:
        self.tab.locator(f".thumb[data-status={status}]").nth(count - 1).wait_for()

    def pick(self, group: str, value: str) -> None:
        self.tab.locator(f'input[name="{group}"][value="{value}"]').check(force=True)

    def save(self, button: str = "#save") -> tuple[str, bytes]:
        """What a click saves: its name and content."""
        with self.tab.expect_download() as info:
            self.tab.locator(f"{button}:enabled").click()
        return info.value.suggested_filename, Path(info.value.path()).read_bytes()

    def saved_pixels(self) -> np.ndarray:
        """What is saved, as Pillow reads it: (H, W, 4), (H, W, 3) or (H, W)."""
        return pixels(self.save()[1])

    def wait_to_see(self, selector: str, seen: Callable[[np.ndarray], bool]) -> None:
        """Wait until the pixels shown at `selector`, (H, W, 3), are as `seen` wants them."""
        end = time.monotonic() + PATIENCE / 1000
        while not seen(pixels(self.tab.locator(selector).screenshot())[..., :3].astype(int)):
            assert time.monotonic() < end, f"{selector} never looked so"


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def unzip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def encoded(array: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def as_file(name: str, content: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": content}
